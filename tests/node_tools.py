"""Programs of tests/node in Node.js, with their packages from npm."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.browser import missing

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "node"
OLDEST = (20, 19)  # of which eslint knows
INSTALL_SECONDS = 240.0
RUN_SECONDS = 60.0


async def workshop(directory: Path) -> Path:
    """A copy of tests/node in which its programs can be run. Skips where there is no Node.js, or an old one."""
    if shutil.which("npm") is None or await _version() < OLDEST:
        missing(f"Node.js {'.'.join(map(str, OLDEST))} or newer with npm is not installed")
    there = directory / "node"
    shutil.copytree(PROGRAMS, there)
    (there / "node_modules").symlink_to(await _packages())
    return there


async def run(there: Path, *arguments: str) -> str:
    """What a program prints, which must end well."""
    async with started(there, *arguments) as process:
        async with asyncio.timeout(RUN_SECONDS):
            output, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return output.decode()


@contextlib.asynccontextmanager
async def started(there: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that is running, and is ended with the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("node", *arguments, cwd=there, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _version() -> tuple[int, ...]:
    """Of Node.js; empty where there is none."""
    if shutil.which("node") is None:
        return ()
    process = await asyncio.create_subprocess_exec("node", "--version", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return tuple(int(part) for part in output.decode().strip().removeprefix("v").split(".")[:2])


async def _packages() -> Path:
    """The packages of the lock file, kept between runs beside other temporary files."""
    lock = PROGRAMS / "package-lock.json"
    version = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"patchbay-node-{os.getuid()}-{version}"
    home.mkdir(exist_ok=True)
    installed = home / "installed"
    with _alone(home / "lock"):
        if not installed.exists():
            for file in (lock, PROGRAMS / "package.json", ROOT / ".npmrc"):
                shutil.copyfile(file, home / file.name)
            await _install(home)
            installed.touch()
    return home / "node_modules"


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two runs of the tests may come at the same time."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def _install(home: Path) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("npm", "ci", "--loglevel=error", cwd=home, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(INSTALL_SECONDS):
        _, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
