"""Run tests on PostgreSQL and Redis of their own: python -m tests.on_postgresql [what pytest takes].

Any test that takes the `gateway` may be named; without names, those run that lean most on the database, with whatever options
are given.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.brokers import postgres_server, redis_server

CHOSEN = [
    "tests/delivery/test_attempt.py",
    "tests/delivery/test_circuit.py",
    "tests/delivery/test_express.py",
    "tests/delivery/test_failover.py",
    "tests/delivery/test_fallback.py",
    "tests/delivery/test_held.py",
    "tests/delivery/test_lanes.py",
    "tests/delivery/test_late_redaction.py",
    "tests/delivery/test_leaving.py",
    "tests/delivery/test_listening.py",
    "tests/delivery/test_parts.py",
    "tests/delivery/test_poison.py",
    "tests/delivery/test_receipts.py",
    "tests/delivery/test_redacted_receipts.py",
    "tests/delivery/test_retention.py",
    "tests/delivery/test_webhooks.py",
    "tests/delivery/test_worker.py",
    "tests/gateway/test_api_keys.py",
    "tests/gateway/test_first_message.py",
    "tests/gateway/test_live.py",
    "tests/gateway/test_rate_limits.py",
    "tests/gateway/test_storage.py",
    "tests/gateway/test_tenancy.py",
    "tests/resolvers/test_audit.py",
    "tests/resolvers/test_batches.py",
    "tests/resolvers/test_connectors_delete.py",
    "tests/resolvers/test_connectors_update.py",
    "tests/resolvers/test_control.py",
    "tests/resolvers/test_message_lists.py",
    "tests/resolvers/test_messages.py",
    "tests/resolvers/test_optouts.py",
    "tests/resolvers/test_senders.py",
    "tests/resolvers/test_stats.py",
    "tests/resolvers/test_whatsapp_lines.py",
]


async def main(arguments: list[str]) -> int:
    """pytest's exit code."""
    with postgres_server() as postgresql, tempfile.TemporaryDirectory() as folder:
        redis = redis_server(Path(folder))
        await postgresql.start()
        await redis.start()
        places = {
            "PATCHBAY_TEST_POSTGRESQL": f"postgresql://postgres@127.0.0.1:{postgresql.port}",
            "PATCHBAY_TEST_REDIS": f"redis://127.0.0.1:{redis.port}",
        }
        try:
            command = [sys.executable, "-m", "pytest", *with_tests(arguments)]
            tests = await asyncio.create_subprocess_exec(*command, env={**os.environ, **places})
            return await tests.wait()
        finally:
            await redis.stop()
            await postgresql.stop()


def with_tests(arguments: list[str]) -> list[str]:
    """What pytest is given: the chosen tests too, unless some are named. A test is named by a path that is there."""
    named = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
    return arguments if named else [*arguments, *CHOSEN]


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(sys.argv[1:])))
