"""How fast a queue that is full empties, against the same hand-overs without a database, and against Apprise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench import peers
from bench.installation import Engine, Installation, installation, mails, smtp, texts, twilio
from bench.sinks import Sink, sink
from bench.table import Row

SMTP_CONNECTIONS = 20


@dataclass(frozen=True, slots=True)
class Case:
    """Something to hand over to: an HTTP provider that takes `latency` seconds, or the mail server."""

    name: str
    latency: float
    in_flight: int
    is_mail: bool = False


CASES = (
    Case("HTTP 1 ms, 100 in flight", 0.001, 100),
    Case("HTTP 50 ms, 100 in flight", 0.05, 100),
    Case("HTTP 50 ms, 400 in flight", 0.05, 400),
    Case("SMTP, 20 connections", 0.0, SMTP_CONNECTIONS, is_mail=True),
)


async def measure(
    engines: list[Engine], messages: int, apprise: str | None, cases: tuple[Case, ...] = CASES
) -> AsyncIterator[Row]:
    for case in cases:
        reached = _limit(case, messages)
        limit = Row(f"drain, {case.name}", "aiohttp or aiosmtplib alone (the limit)", reached, "/s")
        yield limit
        ours = []
        for engine in engines:
            ours.append(await _ours(case, engine, messages))
            yield Row(limit.measure, engine.name, ours[-1], "/s", ratio=ours[-1] / reached, against="limit", goal="≥ 0.75")
        if apprise is not None:
            theirs = _apprise(case, apprise, messages)
            goal = "≥ 50" if case.is_mail else "≥ 7" if case.latency < 0.01 else "≥ 20"
            yield Row(limit.measure, "Apprise", theirs, "/s", ratio=ours[0] / theirs, against="ours to it", goal=goal)


def _limit(case: Case, messages: int) -> float:
    with sink(case.latency) as provider:
        target = str(provider.smtp_port) if case.is_mail else provider.url()
        return peers.limit("smtp" if case.is_mail else "http", target, messages, case.in_flight)


def _apprise(case: Case, python: str, messages: int) -> float:
    """A twentieth of the messages: it is that much slower."""
    with sink(case.latency) as provider:
        mail = f"mailto://127.0.0.1:{provider.smtp_port}/customer@example.org?from=shop@example.com&mode=insecure"
        web = f"json://127.0.0.1:{provider.http_port}/messages"
        return peers.apprise(python, mail if case.is_mail else web, max(20, messages // 20), case.in_flight)


async def _ours(case: Case, engine: Engine, messages: int) -> float:
    with sink(case.latency) as provider:
        async with installation(engine) as ours:
            await _fill(ours, provider, case, messages)
            # A fifth of the slots is kept for urgent messages, so it takes more than are to be in flight.
            with ours.process("worker", concurrency=max(100, case.in_flight) * 5 // 4) as process:
                ended = await ours.drained(process)
            found = await ours.statuses()
            if found != {"SENT": messages} or provider.count() != messages:
                raise RuntimeError(f"{case.name} on {engine.name}: {found}, {provider.count()} arrived of {messages}")
            return messages / (ended - provider.first())


async def _fill(ours: Installation, provider: Sink, case: Case, messages: int) -> None:
    (connector_id,) = await ours.plug(smtp(provider) if case.is_mail else twilio(provider))
    made = mails(messages, connector_id) if case.is_mail else texts(messages, [connector_id])
    await ours.accept(made)
