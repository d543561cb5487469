from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import websockets

from gateway.settings import Settings
from schema.roots import sdl
from tests.commands import Serving, patchbay, serving
from tests.harness import Gateway


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[Serving]:
    with serving(data_dir) as started:
        yield started


def test_the_first_start_makes_everything_and_the_second_keeps_it(data_dir: Path) -> None:
    keys = data_dir / "patchbay.keys"
    with serving(data_dir) as first:
        written = keys.read_text()
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        assert first.lines[:-1] == [
            f"First start: keys written to {keys} (mode 600). Keep them with your backups.",
            f"Patchbay listens on {first.url}",
            f"  GraphiQL   {first.url}/graphql",
            f"  Schema     {first.url}/schema.graphql",
            "  Egress     private and loopback addresses are refused; PATCHBAY_ALLOW_PRIVATE_ADDRESSES=true allows them",
            "  Token      for workspace demo, good for 12h; `patchbay token` prints another:",
        ]
        token = first.token
        viewer = first.ask("{ viewer { workspace { id name } } }", token)["data"]["viewer"]
        assert first.end()[0] == 0
        assert [line["event"] for line in first.logged] == ["migrated", "started", "stopping", "stopped"]
        assert token not in json.dumps(first.logged)
    with serving(data_dir, ALLOW_PRIVATE_ADDRESSES="true", GRAPHIQL="false") as second:
        assert keys.read_text() == written
        assert second.lines[:-1] == [
            f"Patchbay listens on {second.url}",
            f"  Schema     {second.url}/schema.graphql",
            "  Token      for workspace demo, good for 12h; `patchbay token` prints another:",
        ]
        assert second.ask("{ viewer { workspace { id name } } }", token)["data"]["viewer"] == viewer


def test_what_is_public(server: Serving) -> None:
    assert server.get("/healthz") == (200, "ok\n")
    status, text = server.get("/readyz")
    checks = {"draining": "no", "database": "ok", "bus": "ok", "worker": "ok"}
    assert (status, json.loads(text)) == (200, {"status": "ready", "checks": checks})
    assert server.get("/schema.graphql") == (200, sdl())
    assert server.get("/nothing")[0] == 404


def test_a_second_process_on_the_same_database_is_refused(server: Serving, data_dir: Path) -> None:
    sentence = f"patchbay: {data_dir}/patchbay.db is in use by another Patchbay; SQLite serves one process at a time."
    ended = patchbay(data_dir, "serve")
    assert (ended.status, ended.complaint) == (2, sentence)
    assert server.get("/healthz") == (200, "ok\n")


def test_a_port_that_is_taken(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = patchbay(data_dir, "serve", PORT=str(port))
    assert ended.status == 2
    assert ended.err.splitlines()[-1] == f"patchbay: Cannot listen on 127.0.0.1:{port}: Address already in use."
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sends_the_sockets_elsewhere_and_ends_the_process_well(data_dir: Path, number: signal.Signals) -> None:
    with serving(data_dir) as server:
        address = server.url.replace("http", "ws") + "/graphql"
        async with websockets.connect(address, subprotocols=[websockets.Subprotocol("graphql-transport-ws")]) as watching:
            payload = {"authorization": f"Bearer {server.token}"}
            await watching.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert json.loads(await watching.recv()) == {"type": "connection_ack"}
            status, seconds = await asyncio.to_thread(server.end, number)
            await watching.wait_closed()
            assert (watching.close_code, watching.close_reason) == (1012, "The server is restarting.")
        assert status == 0
        assert seconds < 5
        assert [line["event"] for line in server.logged][-2:] == ["stopping", "stopped"]


async def test_a_signal_ends_the_streams_too(data_dir: Path) -> None:
    with serving(data_dir) as server:
        headers = {"authorization": f"Bearer {server.token}", "accept": "text/event-stream"}
        asked = {"query": "subscription { events { id } }"}
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{server.url}/graphql", json=asked, headers=headers) as watching,
        ):
            assert await watching.content.readuntil(b"\n\n") == b":\n\n"
            status, seconds = await asyncio.to_thread(server.end, signal.SIGTERM)
            assert await watching.text() == ": UNAVAILABLE The server is restarting.\n\n"
        assert (status, seconds < 5) == (0, True)


async def test_the_schema_is_compressed_for_whom_takes_it(gateway: Gateway) -> None:
    async with gateway.http.get(f"{gateway.url}/schema.graphql", headers={"accept-encoding": "gzip"}) as response:
        assert (response.headers["content-encoding"], response.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert int(response.headers["content-length"]) < len(sdl()) / 3
        assert await response.text() == sdl()


async def test_a_draining_process_is_not_ready_and_takes_no_new_sockets(gateway: Gateway) -> None:
    await gateway.application.drain()
    async with gateway.http.get(f"{gateway.url}/readyz") as response:
        told = await response.json()
        assert (response.status, told["status"], told["checks"]["draining"]) == (503, "not ready", "yes")
    async with gateway.http.get(f"{gateway.url}/healthz") as response:
        assert response.status == 200
    with pytest.raises(websockets.InvalidStatus):
        async with gateway.socket():
            pass


def test_without_a_worker_it_says_so(data_dir: Path) -> None:
    with serving(data_dir, "--no-worker") as server:
        assert json.loads(server.get("/readyz")[1])["checks"]["worker"] == "elsewhere"


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
