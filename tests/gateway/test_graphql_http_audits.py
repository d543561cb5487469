"""The 61 audits of graphql-http, by its own client."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from toy_api import TOKEN, Api, serving

AUDITS = Path(__file__).parent.parent / "graphql_http_audits"


async def run(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, command
    return output.decode()


async def installed() -> Path:
    """The client with its packages, kept between runs beside other temporary files."""
    home = Path(tempfile.gettempdir()) / f"patchbay-graphql-http-audits-{os.getuid()}"
    home.mkdir(exist_ok=True)
    for name in "package.json", "audit.js":
        shutil.copyfile(AUDITS / name, home / name)
    if not (home / "node_modules" / "graphql-http").exists():
        await run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", cwd=home)
    return home


async def test_every_server_audit_passes() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        assert os.environ.get("CI") != "true", "node and npm must be there in continuous integration"
        pytest.skip("node or npm is not installed")
    async with serving(Api()) as api:
        output = await run("node", "audit.js", api.url, TOKEN, cwd=await installed())
    results = [json.loads(line) for line in output.splitlines()]
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == 61
