"""Every benchmark runs, with numbers far too small to mean anything."""

from __future__ import annotations

import asyncio

import pytest
import typer
from typer.testing import CliRunner

from bench import accept, callbacks, drain, graphql, growth, peers, urgent
from bench.__main__ import main
from bench.drain import CASES, Case
from bench.installation import SQLITE, Engine
from bench.sinks import sink
from bench.table import Row, table
from tests.harness import POSTGRESQL

ENGINES = [Engine(SQLITE)] + ([Engine("PostgreSQL", POSTGRESQL)] if POSTGRESQL else [])


async def test_accepting_is_measured() -> None:
    rows = [row async for row in accept.measure(ENGINES[:1], 0.1, batch=10)]
    assert [row.subject for row in rows if row.unit == "/s"] == ["messageSend, 64 clients", "messageSendBatch of 10"]
    assert all(row.value > 0 for row in rows)


@pytest.mark.parametrize("case", [CASES[0], CASES[3]], ids=["http", "smtp"])
async def test_draining_is_measured_and_loses_nothing(case: Case) -> None:
    rows = [row async for row in drain.measure(ENGINES, 120, None, (case,))]
    assert [row.subject for row in rows] == ["aiohttp or aiosmtplib alone (the limit)", *(engine.name for engine in ENGINES)]
    assert all(row.value > 0 for row in rows)


async def test_one_time_passwords_are_measured_alone_and_beside_a_bulk_job() -> None:
    rows = [row async for row in urgent.measure(ENGINES[:1], 1_000, 3, beside=(True,))]
    assert [(row.unit, row.ratio is None) for row in rows] == [("ms", True)] * 2 + [("ms", False)] * 2


@pytest.mark.skipif(graphql.missing() is not None, reason=graphql.missing() or "")
async def test_graphql_is_measured_beside_its_peers() -> None:
    rows = [row async for row in graphql.measure(ENGINES[:1], 1, sockets=5, stored=60)]
    assert [row.subject for row in rows if row.measure == "GraphQL, list of 50"][:4] == ["Patchbay", *graphql.PEERS]
    assert [row.subject for row in rows if row.unit == "KiB"] == [
        f"{name}: an idle socket" for name in ("Patchbay", "mercurius", "yoga")
    ]
    assert all(row.value > 0 for row in rows if row.unit == "/s")


async def test_callbacks_are_measured_alone_and_beside_a_queue_that_drains() -> None:
    rows = [row async for row in callbacks.measure(ENGINES, 200, rate=500)]
    assert [(row.unit, row.ratio is None) for row in rows[:8]] == [
        *[("/s", True), ("ms", True), ("ms", True), ("ms", True)],
        *[("/s", True), ("/s", False), ("/s", False), ("ms", True)],
    ]
    assert len(rows) == 8 * len(ENGINES) and all(row.value > 0 for row in rows)


async def test_growth_is_measured_against_the_smallest_size() -> None:
    rows = [row async for row in growth.measure(ENGINES[:1], [160, 320])]
    assert [row.subject for row in rows] == ["160 messages", "320 messages"]
    assert rows[0].ratio == 1.0


async def test_a_sink_counts_what_comes_and_when() -> None:
    with sink() as provider:
        assert await asyncio.to_thread(peers.limit, "http", provider.url(), 30, 3) > 0
        assert (provider.count(), provider.arrivals()) == (30, {})


def test_the_table_names_a_measure_once() -> None:
    made = table([Row("drain", "ours", 1234.5, "/s", 0.5, "limit", "≥ 0.75"), Row("drain", "theirs", 1.5, "/s")])
    assert [list(column.cells) for column in made.columns] == [
        ["drain", ""],
        ["ours", "theirs"],
        ["1,234 /s", "1.50 /s"],
        ["0.50", ""],
        ["limit", ""],
        ["≥ 0.75", ""],
    ]


def test_an_unknown_benchmark_is_named() -> None:
    app = typer.Typer()
    app.command()(main)
    ended = CliRunner().invoke(app, ["speed"])
    assert ended.exit_code == 2
    assert "there is no speed" in ended.output
