"""Fixtures every room shares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import Gateway, running, settings_for


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A whole gateway with a worker, on SQLite."""
    async with running(settings_for(tmp_path)) as started:
        yield started
