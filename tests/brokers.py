"""Private brokers a test may stop, freeze and bring back. What is absent skips by name, or fails if services are required."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

POSTGRES_HOMES = ("/usr/lib/postgresql", "/opt/homebrew/opt")


def absent(name: str) -> NoReturn:
    if os.environ.get("PATCHBAY_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{name} is required here and is not installed")
    pytest.skip(f"{name} is not installed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def until(met: Callable[[], bool], within: float = 10.0) -> float:
    """Wait for a condition; the seconds it took."""
    started = time.perf_counter()
    while not met():
        if time.perf_counter() - started > within:
            raise AssertionError(f"not met within {within} s")
        await asyncio.sleep(0.005)
    return time.perf_counter() - started


class Server:
    """A process with a TCP port. `start` returns when it accepts connections and, where there is one, the `probe` succeeds."""

    def __init__(
        self, command: list[str], port: int, stop_with: signal.Signals = signal.SIGTERM, probe: Sequence[str] = ()
    ) -> None:
        self.command = command
        self.port = port
        self._probe = probe
        self._stop_with = stop_with
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*self.command, stdout=quiet, stderr=quiet)
        await until(self._accepts)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(self._stop_with)
            await asyncio.wait_for(process.wait(), 10)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        return not self._probe or subprocess.run(self._probe, capture_output=True).returncode == 0


def redis_server(folder: Path) -> Server:
    program = shutil.which("redis-server") or absent("redis-server")
    port = free_port()
    plain = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(folder)]
    return Server([program, "--port", str(port), *plain], port)


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A new cluster that trusts the user `postgres`. PostgreSQL refuses to run as root, so root lends it to that user.

    It has a folder of its own because pytest keeps every other user out of its temporary folders.
    """
    programs = postgres_programs()
    with tempfile.TemporaryDirectory(prefix="patchbay-postgres-") as folder:
        subprocess.run(["cp", "-a", f"{_new_cluster()}/.", folder], check=True)
        port = free_port()
        plain = ["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1"]
        command = [*_become(), str(programs / "postgres"), "-D", folder, "-p", str(port), *plain]
        # A server that has just begun to listen may still say that it is starting up.
        yield Server(command, port, signal.SIGINT, [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)])


@cache
def _new_cluster() -> str:
    """A folder with a cluster nobody has used, to copy: making one takes a second of processor time."""
    folder = tempfile.mkdtemp(prefix="patchbay-cluster-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    initdb = [str(postgres_programs() / "initdb"), "-D", folder, "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run([*_become(), *initdb], check=True, stdout=subprocess.DEVNULL)
    return folder


def _become() -> list[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


def postgres_programs() -> Path:
    found = [path.parent for home in POSTGRES_HOMES for path in sorted(Path(home).glob("*/bin/initdb"))]
    return found[-1] if found else absent("PostgreSQL")
