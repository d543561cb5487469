"""A Patchbay as people run it, that a test may kill and start again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.installation import approved_sender
from gateway.auth import mint, parse_ttl
from models import migrate, workspaces
from models.database import Database
from tests.brokers import free_port
from tests.commands import PATCHBAY, ROOT, environment
from tests.harness import eventually, settings_for

Json = Any
IN_FLIGHT = 20
CREATE = """mutation($input: ConnectorCreateInput!) { connectorCreate(input: $input) {
  connector { id } userErrors { code message } } }"""
READY = "query($id: ID!) { connector(id: $id) { isVerified } }"


class Installation:
    """A Patchbay in processes of its own, one at a time, on one database and one port; run from `checkout`."""

    def __init__(self, directory: Path, checkout: Path = ROOT, **settings: str) -> None:
        self._settings = settings_for(directory)
        self._port = free_port()
        given = {"PORT": str(self._port), "ALLOW_PRIVATE_ADDRESSES": "true", "LOG_LEVEL": "warning", "LOG_FORMAT": "json"}
        self._environment = environment(directory, **{**given, "WORKER_CONCURRENCY": str(IN_FLIGHT), **settings})
        self._environment["PYTHONFAULTHANDLER"] = "1"
        self._errors = (directory / "stderr").open("ab")
        self._checkout = checkout
        self.directory = directory
        self.url = f"http://127.0.0.1:{self._port}"
        self.database = Database(self._settings.database_url)
        self.process: asyncio.subprocess.Process | None = None
        self.token = ""

    async def prepare(self) -> None:
        await migrate.upgrade(self.database.engine)
        async with self.database.write() as session:
            demo = await workspaces.first_or_create(session, "demo")
            session.add(approved_sender(demo.id))
        await self.database.engine.dispose()
        self.token = mint(self._settings, demo.id, "tester", ["*"], parse_ttl("1h"))

    async def start(self, http: aiohttp.ClientSession) -> float:
        """Start and wait until it is ready; the seconds that took."""
        began = time.perf_counter()
        self.process = await asyncio.create_subprocess_exec(
            *PATCHBAY,
            "serve",
            env=self._environment,
            cwd=self._checkout,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=self._errors,
        )

        async def ready() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{self.url}/readyz") as response:
                    return response.status == 200
            return False

        await eventually(ready, 30)
        return time.perf_counter() - began

    async def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal and wait; the status, and the seconds it took."""
        assert self.process is not None
        began = time.perf_counter()
        self.process.send_signal(number)
        try:
            status = await asyncio.wait_for(self.process.wait(), 20)
        except TimeoutError:
            self.process.send_signal(signal.SIGABRT)  # it writes down where it hangs
            await self.process.wait()
            pytest.fail(f"did not end:\n{self.complaints()[-5000:]}")
        self.process = None
        return status, time.perf_counter() - began

    async def gql(self, http: aiohttp.ClientSession, query: str, **variables: Json) -> Json:
        """The data, or None when there was no whole answer."""
        body = {"query": query, "variables": variables}
        try:
            async with http.post(
                f"{self.url}/graphql", json=body, headers={"authorization": f"Bearer {self.token}"}
            ) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, ValueError):
            return None
        return None if answer.get("errors") else answer["data"]

    async def plug(self, http: aiohttp.ClientSession, config: Json) -> None:
        """Plug in a connector and wait until it is verified."""
        made = await self.gql(http, CREATE, input={"name": "plugged", "config": config})
        assert made["connectorCreate"]["userErrors"] == []
        connector = made["connectorCreate"]["connector"]["id"]

        async def verified() -> bool:
            return bool((await self.gql(http, READY, id=connector))["connector"]["isVerified"])

        await eventually(verified)

    def complaints(self) -> str:
        """What it wrote to stderr: its log from warnings up."""
        self._errors.flush()
        return (self.directory / "stderr").read_text()

    async def close(self) -> None:
        if self.process is not None:
            await self.end(signal.SIGKILL)
        self._errors.close()
        await self.database.close()
