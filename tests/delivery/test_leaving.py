"""What runs in the background ends when it is told to, whatever happens in that moment."""

from __future__ import annotations

import asyncio

from delivery import checks, worker
from tests.harness import Gateway


async def test_what_is_woken_in_the_moment_it_is_told_to_end_ends(gateway: Gateway) -> None:
    tasks = gateway.application._tasks
    await asyncio.sleep(0.05)
    gateway.application.bell.ring(worker.HINT)
    gateway.application.bell.ring(checks.HINT)
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=2)
    assert len(tasks) >= 2 and [task.cancelled() for task in done] == [True] * len(tasks)
