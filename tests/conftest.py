"""Fixtures every room shares."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from gateway import logs
from tests.harness import Gateway, running, settings_for

# Tests that load the machine themselves, or measure it; and those that share one vendor's tools.
TAKE_TURNS = {
    "load": (
        "tests/faults/",
        "tests/test_bench.py",
        "tests/delivery/test_fairness.py",
        "tests/delivery/test_kill.py",
        "tests/delivery/test_lock_order.py",
        "tests/delivery/test_quarantine.py",
        "tests/delivery/test_several_workers.py",
        "tests/gateway/test_graphiql.py",
    ),
    "verifiers": ("tests/channels/",),
}


# How long an example takes says something of the machine only. A build tries the same each time, everybody else new ones.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("house")


class TakingTurns(LoadScopeScheduling):
    """Any test to whichever process is free, but for those of one group, which all go to the same."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for group, paths in TAKE_TURNS.items() if nodeid.startswith(paths)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> TakingTurns:
    return TakingTurns(config, log)


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """As an installation logs, and not as structlog does by itself: with the local variables of a traceback."""
    logs.configure("info", "console")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A whole gateway with a worker, on SQLite."""
    async with running(settings_for(tmp_path)) as started:
        yield started
