"""One bound connection to an SMSC: what is written on it, what is read from it, and how its end is told from silence.

Requests wait for their answers by sequence number, so that several are on their way at once. A link that was silent for too
long is asked whether it lives (enquire_link) and dropped when it says nothing. Whatever ends it ends all that wait.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from channels.smpp_codes import INVALID_COMMAND, INVALID_LENGTH, OK, SYSTEM_ERROR
from channels.smpp_pdu import (
    HEADER,
    LAST_SEQUENCE,
    RESPONSE,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Header,
    MalformedError,
    Pdu,
    Unbind,
    UnbindResp,
    decoded,
    encoded,
)

log = structlog.get_logger()

Deliver = Callable[[DeliverSm], Awaitable[None]]
"""Takes what the SMSC delivers; returns once that is stored. Raises when it is not and shall come again."""


class LinkLostError(ConnectionError):
    """The link ended before the answer came."""


class RefusedError(Exception):
    """An answer with a `command_status` other than 0."""

    def __init__(self, status: int) -> None:
        super().__init__(f"command_status 0x{status:08X}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds: how long a link may be silent before it is asked, how long it may take to answer that, how long to wait for
    what is under way when it is left, the first and the longest pause after a throttled message or a failed connection."""

    enquire: float = 30.0
    answer: float = 10.0
    leave: float = 2.0
    shortest_pause: float = 1.0
    longest_pause: float = 60.0


class Link:
    """`deliver` gets each deliver_sm, which is answered when it returns."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: Pace, window: int, deliver: Deliver
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._pace = pace
        self._deliver = deliver
        self._slots = asyncio.Semaphore(window)
        self._sequence = itertools.cycle(range(1, LAST_SEQUENCE + 1))
        self._waiting: dict[int, asyncio.Future[Pdu]] = {}
        self._delivering: set[asyncio.Task[None]] = set()
        self._heard = asyncio.get_running_loop().time()
        self.ended = asyncio.Event()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]

    @property
    def alive(self) -> bool:
        return not self.ended.is_set() and not self._writer.is_closing()

    @property
    def outstanding(self) -> tuple[asyncio.Future[Pdu], ...]:
        """Requests whose answers have not come."""
        return tuple(self._waiting.values())

    async def ask(self, pdu: Pdu, written: Callable[[], None] = lambda: None) -> Pdu:
        """Send a request and wait for its answer; `written` is called once bytes have left. Raises RefusedError, LinkLostError;
        ValueError, with nothing sent, for a value that does not fit."""
        async with self._slots:
            return await self._ask(pdu, written)

    async def leave(self) -> None:
        """Wait a little for what is under way, unbind, close."""
        if self.alive:
            with suppress(OSError, RefusedError):
                async with asyncio.timeout(self._pace.leave):
                    await asyncio.gather(*self.outstanding, *self._delivering, return_exceptions=True)
            with suppress(OSError, RefusedError):
                async with asyncio.timeout(self._pace.leave):
                    await self._ask(Unbind())
        await self.drop()

    async def drop(self) -> None:
        """Close without a word."""
        self._end()
        tasks = [task for task in (*self._tasks, *self._delivering) if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, pdu: Pdu, written: Callable[[], None] = lambda: None) -> Pdu:
        if not self.alive:
            raise LinkLostError("The connection is closed.")
        sequence = next(self._sequence)
        octets = encoded(pdu, sequence)
        answer: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = answer
        try:
            self._writer.write(octets)
            written()
            return await answer
        finally:
            self._waiting.pop(sequence, None)

    async def _read(self) -> None:
        try:
            while True:
                header = Header.read(await self._reader.readexactly(HEADER.size))
                body = await self._reader.readexactly(header.length - HEADER.size)
                self._heard = asyncio.get_running_loop().time()
                if not self._take(header, body):
                    return
        except MalformedError:
            self._answer(GenericNack(), 0, INVALID_LENGTH)  # where the next PDU would begin is not known
        except (OSError, EOFError, ssl.SSLError):
            pass
        finally:
            self._end()

    def _take(self, header: Header, body: bytes) -> bool:
        """Act on one PDU; False for the last one."""
        try:
            pdu = decoded(header, body)
        except MalformedError:
            self._refuse(header)
            return True
        match pdu:
            case EnquireLink():
                self._answer(EnquireLinkResp(), header.sequence)
            case Unbind():
                self._answer(UnbindResp(), header.sequence)
                return False
            case DeliverSm():
                task = asyncio.create_task(self._pass_on(pdu, header.sequence))
                self._delivering.add(task)
                task.add_done_callback(self._delivering.discard)
            case _ if header.command & RESPONSE:
                self._settle(header, pdu)
            case _:
                self._refuse(header)
        return True

    def _settle(self, header: Header, pdu: Pdu | None) -> None:
        answer = self._waiting.get(header.sequence)
        if answer is None or answer.done():
            return
        if header.status != OK:
            answer.set_exception(RefusedError(header.status))
        elif pdu is None or isinstance(pdu, GenericNack):
            answer.set_exception(LinkLostError("The answer makes no sense."))
        else:
            answer.set_result(pdu)

    def _refuse(self, header: Header) -> None:
        """Say of a request that it is none we know or can read; of an answer, tell who waits for it."""
        if header.command & RESPONSE:
            self._settle(header, None)
        elif header.command == DeliverSm.COMMAND:
            self._answer(DeliverSmResp(), header.sequence, INVALID_LENGTH)
        else:
            self._answer(GenericNack(), header.sequence, INVALID_COMMAND)

    async def _pass_on(self, pdu: DeliverSm, sequence: int) -> None:
        try:
            await self._deliver(pdu)
        except Exception as error:
            log.error("smpp_delivery_not_stored", error=type(error).__name__)
            self._answer(DeliverSmResp(), sequence, SYSTEM_ERROR)  # it will come again
        else:
            self._answer(DeliverSmResp(), sequence)

    def _answer(self, pdu: Pdu, sequence: int, status: int = OK) -> None:
        if not self._writer.is_closing():
            self._writer.write(encoded(pdu, sequence, status))

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                silent = loop.time() - self._heard
                if silent < self._pace.enquire:
                    await asyncio.sleep(self._pace.enquire - silent)
                    continue
                with suppress(RefusedError):  # that is an answer too
                    async with asyncio.timeout(self._pace.answer):
                        await self._ask(EnquireLink())
        except OSError:
            self._end()

    def _end(self) -> None:
        """However it came: nobody waits any longer."""
        if self.ended.is_set():
            return
        self.ended.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkLostError("The connection was lost."))
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._writer.close()
        # What cannot be flushed to a peer that reads no more would keep it open.
        asyncio.get_running_loop().call_later(self._pace.leave, self._writer.transport.abort)
