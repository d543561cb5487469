"""Fixtures every room shares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import logs
from tests.harness import Gateway, running, settings_for


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """As an installation logs, and not as structlog does by itself: with the local variables of a traceback."""
    logs.configure("info", "console")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A whole gateway with a worker, on SQLite."""
    async with running(settings_for(tmp_path)) as started:
        yield started
