"""Write down what came of attempts, many at once: a handful of statements for however many messages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Accepted
from channels.errors import SendError
from delivery import circuit, fallback, retry
from delivery.circuit import Circuits
from delivery.outbound import outbound
from delivery.route import Router
from delivery.verdict import Finished, Verdict, decide, failure_of
from models import connectors, lanes, messages, queue
from models.base import now
from models.connectors import CircuitState, ComponentStatus, Connector, Stage
from models.messages import RANK, MessageStatus
from models.queue import Again
from models.timeline import TimelineSource, channel_changed, message_changed


@dataclass(slots=True)
class Writing:
    """What one transaction is going to write; `standing` is each message's status before."""

    standing: dict[str, str]
    done: list[str] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    fallen: list[Finished] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settled:
    """What was written: the verdict on each attempt, and what providers now know our messages by: (connector, its id) of each.

    Receipts may have come for those already; the caller has them taken once this is committed (`receipts.catch_up`).
    """

    verdicts: Sequence[Verdict]
    sent: Sequence[tuple[str, str]]


async def settle(session: AsyncSession, router: Router, circuits: Circuits, finished: Sequence[Finished]) -> Settled:
    """One transaction's worth. Also for attempts whose lease was lost meanwhile: a late truth is still the truth, but only
    the holder of the lease decides what happens to the job."""
    at = now()
    held = await queue.held(session, [item.claim for item in finished])
    standing = await messages.statuses(session, [item.claim.message_id for item in finished])
    writing = Writing(standing)
    verdicts = [decide(item, at) for item in finished]
    for item, verdict in zip(finished, verdicts, strict=True):
        writing.attempts.append(_attempt(item, verdict))
        if item.claim.message_id in held:
            await _decide_job(session, router, item, verdict, writing)
        elif verdict.status is not MessageStatus.QUEUED and RANK[verdict.status] > RANK[standing[item.message.id]]:
            _move(session, item, verdict, writing)
    await _write(session, writing)
    await _tell_of_connectors(session, circuits, finished, verdicts)
    for item in writing.fallen:
        await fallback.take_next(session, router, item.message)
    return Settled(verdicts, writing.sent)


async def _decide_job(session: AsyncSession, router: Router, item: Finished, verdict: Verdict, writing: Writing) -> None:
    other = await _other(session, router, item) if verdict.elsewhere and not item.message.is_pinned else None
    if other is not None:
        _move_elsewhere(session, item, verdict, other, writing)
        return
    if verdict.again_at is not None:
        tries = item.claim.tries + (1 if verdict.counts else 0)
        writing.again.append(Again(message_id=item.message.id, lane_id=item.connector.id, run_at=verdict.again_at, tries=tries))
    else:
        writing.done.append(item.message.id)
    _move(session, item, verdict, writing)


async def _other(session: AsyncSession, router: Router, item: Finished) -> Connector | None:
    message = item.message
    tried = await messages.tried_connectors(session, message.workspace_id, message.id)
    way = await router.of_channel(session, message.workspace_id, message.channel_type, outbound(message), tried)
    if way.chosen is not None:
        message.route = way.stored()
    return way.chosen


def _move_elsewhere(session: AsyncSession, item: Finished, verdict: Verdict, other: Connector, writing: Writing) -> None:
    message = item.message
    writing.again.append(Again(message_id=message.id, lane_id=other.id, run_at=None, tries=0))
    message.connector_id = other.id
    row = {"id": message.id, "status": MessageStatus.QUEUED.value, "connector_id": other.id, "route": message.route}
    writing.messages.append(row)
    message.status = MessageStatus.QUEUED
    detail = f"{verdict.detail} Going on through {other.name}."
    previous, source = MessageStatus.PROCESSING, TimelineSource.DISPATCHER
    message_changed(session, message, previous, source, detail=detail, attempt=item.claim.attempt)


def _move(session: AsyncSession, item: Finished, verdict: Verdict, writing: Writing) -> None:
    message, accepted = item.message, isinstance(item.outcome.result, Accepted)
    previous = writing.standing[message.id]
    message.status = verdict.status.value
    row = {"id": message.id, "status": verdict.status.value, **verdict.values}
    if accepted:
        row["fallback_at"] = fallback.due(message)
    writing.messages.append(row)
    detail, number = verdict.detail, item.claim.attempt
    message_changed(session, message, previous, verdict.source, detail=detail, attempt=number)
    external_id = verdict.values.get("external_id")
    if accepted and external_id is not None:
        writing.sent.append((item.connector.id, external_id))
    if verdict.status is MessageStatus.FAILED and message.fallbacks:
        writing.fallen.append(item)


async def _write(session: AsyncSession, writing: Writing) -> None:
    await queue.finish(session, writing.done)
    await queue.put_back(session, writing.again)
    await messages.write_attempts(session, writing.attempts)
    await messages.write_all(session, writing.messages)


def _attempt(item: Finished, verdict: Verdict) -> dict[str, Any]:
    outcome = item.outcome
    return {
        "message_id": item.claim.message_id,
        "number": item.claim.attempt,
        "finished_at": now(),
        "duration_ms": outcome.duration_ms,
        "outcome": verdict.word,
        "external_id": verdict.values.get("external_id"),
        "provider_status": outcome.exchange.provider_status,
        "exchange": outcome.exchange.record or None,
        "failure": failure_of(verdict.error) if verdict.error else None,
        "next_attempt_at": verdict.again_at,
    }


async def _tell_of_connectors(
    session: AsyncSession, circuits: Circuits, finished: Sequence[Finished], verdicts: Sequence[Verdict]
) -> None:
    """Pauses, broken circuits and connectors that turned out not to work: each told once for the whole batch."""
    states: dict[str, tuple[Connector, CircuitState]] = {}
    pauses: dict[str, dt.datetime] = {}
    blamed: dict[str, tuple[Connector, SendError]] = {}
    for item, verdict in zip(finished, verdicts, strict=True):
        state = circuits.next_state(item)
        if state is not None:
            states[item.connector.id] = (item.connector, state)
        if verdict.pause_until is not None:
            pauses[item.connector.id] = max(verdict.pause_until, pauses.get(item.connector.id, verdict.pause_until))
        if verdict.blames and verdict.error is not None:
            blamed[item.connector.id] = (item.connector, verdict.error)
    for lane_id, until in sorted(pauses.items()):
        await lanes.pause(session, lane_id, until, until + (until - now()) * retry.BULK_RESTS_LONGER)
    for _, (connector, state) in sorted(states.items()):
        await circuit.change(session, connector, state)
    for _, (connector, error) in sorted(blamed.items()):
        await _blame(session, connector, error)


async def _blame(session: AsyncSession, connector: Connector, error: SendError) -> None:
    values = {
        "stage": Stage.INACTIVE,
        "component_status": ComponentStatus.ERROR,
        "status_error": error.message[:1000],
        "is_verified": False,
    }
    if connector.component_status == ComponentStatus.ERROR:
        return
    changed = await connectors.set_status(session, connector.workspace_id, connector.id, connector.config_revision, values)
    if changed is not None:
        channel_changed(session, changed, "updated", connector.stage, "delivery")
