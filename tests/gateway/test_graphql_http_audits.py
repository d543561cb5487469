"""The 61 audits of graphql-http, by its own client."""

from __future__ import annotations

import json
from pathlib import Path

from toy_api import TOKEN, Api, serving

from tests.node_tools import run, workshop


async def test_every_server_audit_passes(tmp_path: Path) -> None:
    there = await workshop(tmp_path)
    async with serving(Api()) as api:
        output = await run(there, "audits.js", api.url, TOKEN)
    results = [json.loads(line) for line in output.splitlines()]
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == 61
