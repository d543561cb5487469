"""The clients people use, against a running gateway: a query, a mutation, and a subscription that goes on where it was cut."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests import make
from tests.harness import Gateway, eventually
from tests.node_tools import started, workshop

Json = Any
EVENTS = "query($after: String) { events(after: $after, first: 100) { nodes { id } pageInfo { endCursor } } }"
CLIENTS = [
    ("graphql-ws", "sockets"),
    ("graphql-sse", "events"),
    ("urql", "sockets"),
    ("urql", "events"),
    ("apollo", "sockets"),
    ("apollo", "multipart"),
]


class Program:
    """What a client prints, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[str] = []
        self.cuts = 0

    async def hear(self, seconds: float = 30) -> tuple[str, Json]:
        assert self._process.stdout is not None and self._process.stderr is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        assert line, (await self._process.stderr.read()).decode()
        ((kind, value),) = json.loads(line).items()
        return kind, value

    async def until(self, events: int = 0, cuts: int = 0) -> None:
        """Listen until it has seen so many events, and was cut off so many times."""
        while len(self.events) < events or self.cuts < cuts:
            kind, value = await self.hear()
            if kind == "event":
                self.events.append(value)
            else:
                assert kind == "closed", (kind, value)
                self.cuts += 1


async def log_after(gateway: Gateway, cursor: str | None) -> tuple[list[str], str]:
    """The ids of all events since, and where the log ends."""
    page = (await gateway.gql(EVENTS, after=cursor))["events"]
    return [event["id"] for event in page["nodes"]], page["pageInfo"]["endCursor"]


def cut(gateway: Gateway) -> bool:
    """Throw everybody out. Gives back whether somebody was there."""
    application = gateway.application
    there = len(application.sockets) + len(application.endpoint.streams) > 0
    for holder in application.sockets, application.endpoint.streams:
        holder.close_where(lambda _viewer: True, "Come again.")
    return there


@pytest.mark.parametrize(("client", "way"), CLIENTS)
async def test_client(gateway: Gateway, tmp_path: Path, client: str, way: str) -> None:
    there = await workshop(tmp_path)
    await make.working(gateway)
    _, start = await log_after(gateway, None)
    url = f"{gateway.url}/graphql"
    async with started(there, f"clients/{client}.js", url, gateway.token(), start, way) as process:
        program = Program(process)
        kind, answer = await program.hear()
        assert (kind, answer["viewer"]["subject"]) == ("query", "tester")
        await _check_mutation(gateway, program)
        expected = await _settled(gateway, start)
        await program.until(events=len(expected))
        before = program.cuts
        assert cut(gateway)
        await _plug(gateway, "While it is away")
        await program.until(cuts=before + 1)
        expected = await _settled(gateway, start)
        await program.until(events=len(expected))
        await _plug(gateway, "While it is back")
        expected = await _settled(gateway, start)
        await program.until(events=len(expected))
        assert program.events == expected


async def _check_mutation(gateway: Gateway, program: Program) -> None:
    kind, value = await program.hear()
    while kind == "closed":
        kind, value = await program.hear()
    made = value["connectorCreate"]
    assert (kind, made["userErrors"], made["connector"]["name"]) == ("mutation", [], "Of a client")
    found = await gateway.gql("query($id: ID!) { connector(id: $id) { name } }", id=made["connector"]["id"])
    assert found["connector"] == {"name": "Of a client"}


async def _plug(gateway: Gateway, name: str) -> None:
    text = (
        "mutation($n: String!) { connectorCreate(input: {name: $n, config: {simulator: {latencyMs: 1}}}) { connector { id } } }"
    )
    assert (await gateway.gql(text, n=name))["connectorCreate"]["connector"]["id"]


async def _settled(gateway: Gateway, start: str) -> list[str]:
    """The events since, once every connector has been checked."""

    async def ready() -> bool:
        nodes = (await gateway.gql("{ connectors { nodes { isVerified } } }"))["connectors"]["nodes"]
        return all(node["isVerified"] for node in nodes)

    await eventually(ready)
    ids, _ = await log_after(gateway, start)
    return ids
