"""Processes that start beside each other on one new database."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from gateway.storage import prepare
from models import workspaces
from models.database import Database
from tests.commands import PATCHBAY, ROOT, START_SECONDS, environment, patchbay
from tests.harness import database_of, settings_for


async def test_servers_that_start_at_once_agree_on_the_first_workspace(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    async with database_of(settings):
        found = await asyncio.gather(*(prepare(settings, "demo") for _ in range(4)))
        assert {each.name for each in found} == {"demo"}
        database = Database(settings.database_url)
        async with database.read() as session:
            assert [each.id for each in await workspaces.everything(session)] == [found[0].id]
        await database.close()


def test_tokens_asked_for_at_once_are_of_one_workspace(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert patchbay(data_dir, "migrate").status == 0
    command = [*PATCHBAY, "token", "--workspace", "acme"]
    env = environment(data_dir)
    asked = [
        subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [each.communicate(timeout=START_SECONDS)[1] for each in asked]
    assert [each.returncode for each in asked] == [0, 0, 0]
    assert sorted(told) == ["", "", "Made the workspace acme.\n"]
