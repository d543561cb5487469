"""The vendors' own schemas beside the checkout, served by Prism as strict mocks. Absent, the tests that use them skip."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

VERIFIERS = Path(__file__).resolve().parents[2] / "shared" / "verifiers"
HOME = Path(os.environ.get("VERIFIERS_HOME") or Path(tempfile.gettempdir()) / "provider-verifiers")
PRISM = Path("npm/node_modules/.bin/prism")
START_TIMEOUT = 60.0
INSTALL_TIMEOUT = 240.0


def golden(name: str) -> Any:
    """A golden file, for instance `requests.json`; skips where it is absent."""
    path = VERIFIERS / "golden" / name
    if not path.exists():
        pytest.skip(f"verifiers/golden/{name} is not beside the checkout")
    return json.loads(path.read_text())


@contextlib.asynccontextmanager
async def prism(spec: str) -> AsyncIterator[str]:
    """The base URL of a mock of `specs/<spec>.json` on a free port; skips where it or node is absent."""
    if not (VERIFIERS / "specs" / f"{spec}.json").exists():
        pytest.skip(f"verifiers/specs/{spec}.json is not beside the checkout")
    if not shutil.which("node"):
        pytest.skip("node is not installed: Prism cannot run")
    await install()
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(VERIFIERS / "prism.sh"),
        spec,
        str(port),
        env={**os.environ, "VERIFIERS_HOME": str(HOME)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await listening(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def install() -> None:
    if (HOME / PRISM).exists():
        return
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: Prism cannot be fetched")
    devnull = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        str(VERIFIERS / "install.sh"), env={**os.environ, "VERIFIERS_HOME": str(HOME)}, stdout=devnull, stderr=devnull
    )
    try:
        await asyncio.wait_for(process.wait(), INSTALL_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
    if process.returncode != 0:
        pytest.skip("Prism could not be installed")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(START_TIMEOUT):
        while True:
            assert process.returncode is None, "Prism ended before it listened"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                await writer.wait_closed()
                return
