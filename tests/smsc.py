"""A real SMSC on loopback that keeps what it is given and misbehaves when it is told to.

async with Smsc() as smsc:
    smsc.submits = [0x58, 0, DROP]         # throttled, then taken, then the connection is cut; afterwards all are taken
    await smsc.deliver(DeliverSm(...))     # to every session; the status of each answer is in `smsc.acknowledged`
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from channels.smpp_pdu import (
    HEADER,
    RESPONSE,
    Bind,
    BindTransceiverResp,
    BindTransmitterResp,
    DeliverSm,
    EnquireLinkResp,
    Header,
    Pdu,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    decoded,
    encoded,
)

DROP = -1
HANG = -2
EMPTY = -3  # an answer without a body
NONSENSE = -4  # an answer that cannot be read


async def until(probe: Callable[[], bool]) -> None:
    """Wait for something to become true; fails after 20 seconds."""
    async with asyncio.timeout(20):
        found = probe()
        while not found:
            await asyncio.sleep(0.01)
            found = probe()


class Smsc:
    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self.connections = 0
        self.bind_status = 0
        self.submits: list[int] = []
        self.ids: list[str] = []
        self.binds: list[Bind] = []
        self.submitted: list[SubmitSm] = []
        self.acknowledged: list[int] = []
        self.enquiries = 0
        self.unbinds = 0
        self.nacks: list[Header] = []
        self.is_silent = False
        self._tls = tls
        self._sequence = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def sessions(self) -> int:
        return len(self._writers)

    def cut(self) -> None:
        """Every connection, as a restart would."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def half_close(self) -> None:
        """Say that nothing more will come, and go on listening."""
        for writer in self._writers:
            writer.write_eof()

    def say(self, octets: bytes) -> None:
        """Any bytes, to every session."""
        for writer in self._writers:
            writer.write(octets)

    def deliver(self, *pdus: DeliverSm) -> None:
        for pdu in pdus:
            self._sequence += 1
            self.say(encoded(pdu, self._sequence))

    def unbind(self) -> None:
        self.say(encoded(Unbind(), 99))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self._writers.append(writer)
        try:
            with suppress(EOFError, OSError, asyncio.CancelledError):
                while True:
                    header = Header.read(await reader.readexactly(HEADER.size))
                    pdu = decoded(header, await reader.readexactly(header.length - HEADER.size))
                    if not self.is_silent:
                        self._answer(header, pdu, writer)
        finally:
            if writer in self._writers:
                self._writers.remove(writer)
            writer.close()
            self._tasks.discard(task)

    def _answer(self, header: Header, pdu: Pdu | None, writer: asyncio.StreamWriter) -> None:
        def answer(told: Pdu, status: int = 0) -> None:
            writer.write(encoded(told, header.sequence, status))

        match pdu:
            case Bind():
                self.binds.append(pdu)
                kind = BindTransceiverResp if header.command == 0x09 else BindTransmitterResp
                answer(kind("SMSC"), self.bind_status)
            case SubmitSm():
                self._take(pdu, header, writer)
            case UnbindResp() | EnquireLinkResp():
                pass
            case Unbind():
                self.unbinds += 1
                answer(UnbindResp())
            case _ if header.command == 0x15:
                self.enquiries += 1
                answer(EnquireLinkResp())
            case _ if header.command == 0x05 | RESPONSE:
                self.acknowledged.append(header.status)
            case _:
                self.nacks.append(header)

    def _take(self, pdu: SubmitSm, header: Header, writer: asyncio.StreamWriter) -> None:
        self.submitted.append(pdu)
        status = self.submits.pop(0) if self.submits else 0
        command = SubmitSmResp.COMMAND
        if status == DROP:
            writer.transport.abort()
        elif status == NONSENSE:
            writer.write(HEADER.pack(18, command, 0, header.sequence) + b"no")
        elif status == EMPTY or status > 0:
            writer.write(HEADER.pack(16, command, max(status, 0), header.sequence))
        elif status == 0:
            name = self.ids.pop(0) if self.ids else f"m{len(self.submitted)}"
            writer.write(encoded(SubmitSmResp(name), header.sequence))
