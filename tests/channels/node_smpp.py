"""An SMSC on node-smpp, a codec that is not ours, beside the checkout. Absent, the tests that use it skip."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.verifiers import HOME, VERIFIERS, free_port, install, listening

SCRIPT = VERIFIERS / "smpp_node.js"
PARTS = Path(__file__).with_name("node_smpp_parts.js")


@dataclass(frozen=True)
class Judge:
    port: int
    path: Path

    async def log(self) -> list[dict[str, Any]]:
        """What it saw, in order."""
        text = await asyncio.to_thread(self.path.read_text)
        return [json.loads(line) for line in text.splitlines()]


@contextlib.asynccontextmanager
async def smsc(script: Path = SCRIPT) -> AsyncIterator[Judge]:
    """Binds gateway with s3cret; the last digits of a recipient decide what happens. With PARTS, delivers messages in parts to
    the second who binds."""
    if not SCRIPT.exists():
        pytest.skip("verifiers/smpp_node.js is not beside the checkout")
    if not shutil.which("node"):
        pytest.skip("node is not installed: node-smpp cannot run")
    await install()
    if not (HOME / "npm/node_modules/smpp").exists():
        pytest.skip("node-smpp is not installed")
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(free_port(), Path(folder) / "log.jsonl")
        process = await asyncio.create_subprocess_exec(
            "node",
            str(script),
            str(judge.port),
            str(judge.path),
            env={**os.environ, "VERIFIERS_HOME": str(HOME)},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await listening(process, judge.port)
            yield judge
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
