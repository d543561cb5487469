"""Patchbay's GraphQL beside Node's servers on the same table: rows read, a message accepted, events to many subscribers.

The peers are `node/server.mjs`; `npm ci` there, and a better-sqlite3 built for this machine, come first. wrk makes the load.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.fans import processor, resident
from bench.installation import KEYS, SQLITE, Engine, Installation, address_of, installation
from bench.load import SEND
from bench.table import Row
from resolvers.messages import Draft

NODE = Path(__file__).resolve().parent / "node"
FIELDS = "id channelType status to subject body clientReference externalId segments createdAt"
LIST = f"query($first: Int) {{ messages(first: $first) {{ nodes {{ {FIELDS} }} }} }}"
ONE = f"query($id: ID!) {{ message(id: $id) {{ {FIELDS} }} }}"
OURS, BEST = "Patchbay", "mercurius"
PEERS = (BEST, "yoga", "apollo")
ROUNDS, CONNECTIONS, EVENTS = 3, 32, 20
GOALS = {"list of 50": {BEST: "≥ 1.2"}, "one object": {BEST: "≥ 1.0"}, "messageSend": {BEST: "≥ 1.2"}}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and what to ask it with: `started` in seconds, `spent` in milliseconds of processor time."""

    name: str
    url: str
    pid: int
    token: str
    connector_id: str
    message_id: str
    started: float
    spent: float

    def body(self, measure: str) -> dict[str, object]:
        if measure == "list of 50":
            return {"query": LIST, "variables": {"first": 50}}
        if measure == "one object":
            return {"query": ONE, "variables": {"id": self.message_id}}
        given = {"to": "customer", "connectorId": self.connector_id, "body": "Your parcel is on its way."}
        return {"query": SEND, "variables": {"input": given}}


def missing() -> str | None:
    """What is not there to measure with."""
    needs = {
        "node": shutil.which("node"),
        "wrk": shutil.which("wrk"),
        "bench/node/node_modules": (NODE / "node_modules").is_dir(),
    }
    absent = [name for name, there in needs.items() if not there]
    return f"the GraphQL servers are left out: no {', '.join(absent)}" if absent else None


async def measure(engines: list[Engine], seconds: float, sockets: int, stored: int = 10_000) -> AsyncIterator[Row]:
    """On SQLite: the peers have no PostgreSQL here."""
    if missing() or all(engine.name != SQLITE for engine in engines):
        return
    async with installation(Engine(SQLITE)) as ours:
        (connector_id,) = await ours.plug({"simulator": {}})
        parcels = range(stored)
        await ours.accept([Draft(to=f"customer{i}", connector_id=connector_id, body=f"Your parcel {i}.") for i in parcels])
        with ExitStack() as running:
            servers = [running.enter_context(_server(name, ours, connector_id)) for name in (OURS, *PEERS)]
            for row in _rows(servers, seconds, sockets):
                yield row


def _rows(servers: list[Server], seconds: float, sockets: int) -> Iterator[Row]:
    for server in servers:
        goal = {"s": "≤ 1.5", "MiB": "≤ 110"} if server.name == OURS else {}
        yield Row("process", f"{server.name}: start to healthy", server.started, "s", goal=goal.get("s", ""))
        yield Row("process", f"{server.name}: processor time until then", server.spent / 1000, "s")
        yield Row("process", f"{server.name}: idle memory", resident(server.pid) / 1024, "MiB", goal=goal.get("MiB", ""))
    for name in GOALS:
        yield from _rates(name, servers, seconds)
    yield from _fans([server for server in servers if server.name != "apollo"], sockets)


def _rates(name: str, servers: list[Server], seconds: float) -> Iterator[Row]:
    """Medians of rounds that take turns. Processor time is what a busy machine does not change."""
    found: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
    for _ in range(ROUNDS):
        for server in servers:
            found[server.name].append(_round(server, orjson.dumps(server.body(name)), seconds))
    rates = {server: statistics.median(rate for rate, _ in rounds) for server, rounds in found.items()}
    costs = {server: statistics.median(cost for _, cost in rounds) for server, rounds in found.items()}
    yield Row(f"GraphQL, {name}", OURS, rates[OURS], "/s")
    for peer in PEERS:
        yield Row(f"GraphQL, {name}", peer, rates[peer], "/s", rates[OURS] / rates[peer], OURS, GOALS[name].get(peer, "≥ 2"))
    yield Row(f"GraphQL, {name}", f"{OURS}: processor time of each", costs[OURS], "ms")
    for peer in PEERS:
        yield Row(f"GraphQL, {name}", f"{peer}: processor time of each", costs[peer], "ms", costs[peer] / costs[OURS], OURS)


def _round(server: Server, body: bytes, seconds: float) -> tuple[float, float]:
    """Answers a second, and milliseconds of processor time for each."""
    before = processor(server.pid)
    rate, answers = _wrk(server, body, seconds)
    return rate, (processor(server.pid) - before) / answers


def _fans(servers: list[Server], sockets: int) -> Iterator[Row]:
    measure = f"one event to {sockets:,} sockets"
    first = cheapest = 0.0
    for server in servers:
        arguments = [server.url, server.token, str(sockets), str(EVENTS), server.connector_id, str(server.pid)]
        command = [sys.executable, "-m", "bench.fans", *arguments]
        rate, cost, p99, idle = orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300).stdout)
        first, cheapest = first or rate, cheapest or cost
        against = (None, "", "") if server.name == OURS else (first / rate, OURS, "≥ 2")
        yield Row(measure, f"{server.name}: deliveries", rate, "/s", *against)
        costs = () if server.name == OURS else (cost / cheapest, OURS)
        yield Row(measure, f"{server.name}: processor time of each", cost, "µs", *costs)
        yield Row(measure, f"{server.name}: delay, p99", p99, "ms")
        yield Row(measure, f"{server.name}: an idle socket", idle, "KiB", goal="≤ 30" if server.name == OURS else "")


def _wrk(server: Server, body: bytes, seconds: float) -> tuple[float, int]:
    """Answers a second to 32 connections, and answers in all, after one that must be a success."""
    headers = {"content-type": "application/json", "accept": "application/json", "authorization": f"Bearer {server.token}"}
    address = f"{server.url}/graphql"
    with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as response:
        answer = response.read()
    if b'"errors":' in answer or b'"code":' in answer:
        raise RuntimeError(f"{server.name}: {answer[:300].decode()}")
    told = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = [==[{body.decode()}]==]\n{told}\n')
        script.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            "30s",
            "-s",
            script.name,
            address,
        ]
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"{server.name}: {out}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0]), int(re.findall(r"(\d+) requests in", out)[0])


@contextmanager
def _server(name: str, ours: Installation, connector_id: str) -> Iterator[Server]:
    """A server over the installation's database, a peer over a copy of it."""
    begun = time.perf_counter()
    with ExitStack() as stack:
        if name == OURS:
            process = stack.enter_context(ours.process("serve", "--no-worker"))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="patchbay-peer-"))
            process = stack.enter_context(_peer(name, _copied(ours, Path(folder))))
        url = address_of(process)
        started, spent = time.perf_counter() - begun, processor(process.pid)
        yield Server(name, url, process.pid, ours.token, connector_id, _newest(ours), started, spent)


@contextmanager
def _peer(name: str, database: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = ["node", str(NODE / "server.mjs"), name, str(database), KEYS["jwt_secret"]]
    environment = {**os.environ, "NODE_ENV": "production"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=NODE, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()


def _stored(ours: Installation) -> sqlite3.Connection:
    return sqlite3.connect(ours.settings.data_dir / "patchbay.db")


def _copied(ours: Installation, folder: Path) -> Path:
    with closing(_stored(ours)) as source, closing(sqlite3.connect(folder / "peer.db")) as copy:
        source.backup(copy)
    return folder / "peer.db"


def _newest(ours: Installation) -> str:
    with closing(_stored(ours)) as source:
        return str(source.execute("SELECT max(id) FROM message").fetchone()[0])
