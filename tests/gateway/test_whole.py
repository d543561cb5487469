"""Head and body of an answer leave together, in order, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
from toy_api import AUTHORIZED, Api, serving

from gateway.whole import Joining


class Written(asyncio.Transport):
    """What reached the kernel, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def writelines(self, pieces: Iterable[bytes]) -> None:  # type: ignore[override]
        self.calls.append(b"".join(pieces))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_what_is_written_in_one_turn_leaves_together() -> None:
    kernel = Written()
    joining = Joining(kernel, asyncio.get_running_loop())
    joining.write(b"head ")
    joining.write(b"body")
    assert kernel.calls == []
    await asyncio.sleep(0)
    assert kernel.calls == [b"head body"]
    joining.write(b"more")
    joining.close()
    await asyncio.sleep(0)
    assert (kernel.calls, kernel.closed) == ([b"head body", b"more"], True)
    joining.write(b"to nobody")
    await asyncio.sleep(0)
    assert kernel.calls == [b"head body", b"more"]


async def test_answers_to_pipelined_requests_come_whole_and_in_order() -> None:
    body = orjson.dumps({"query": "{ hello }"})
    fields = ["POST /graphql HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    fields += [f"{name}: {value}" for name, value in AUTHORIZED.items()]
    async with serving(Api()) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        for last in ("", "Connection: close\r\n"):
            writer.write("\r\n".join(fields).encode() + f"\r\n{last}\r\n".encode() + body)
        said = await reader.read()
        writer.close()
    assert said.count(b"HTTP/1.1 200 OK\r\n") == said.count(b'\r\n\r\n{"data":{"hello":"hello world"}}') == 2
