"""Batches: accept many messages at once, and watch them go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from models import batches as rows
from models import events, ids
from models.base import now
from models.batches import Batch, Progress
from models.bell import JOBS
from models.events import MESSAGE, Event
from models.messages import Message
from models.tail import Follower
from models.timeline import TimelineSource, message_changed
from models.underway import underway
from resolvers import limits, messages, permits
from resolvers.call import Call
from resolvers.candidates import Lookup
from resolvers.messages import Draft, Planned, read_scope, readable_channels, send_scope
from resolvers.problems import Problem, Problems, RequestErrorCode, UserErrorCode

MOST = 1_000
SHOWN_FAILURES = 10
FASTEST_MS, SLOWEST_MS = 50, 60_000
BREATH = 50

Item = TypeVar("Item")
Look = Callable[[], AbstractAsyncContextManager[AsyncSession]]


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants accepted together."""

    drafts: Sequence[Draft]
    idempotency_key: str | None = None

    def content(self) -> list[dict[str, Any]]:
        """All that was asked for, whatever its own idempotency key."""
        return [asdict(draft) for draft in self.drafts]


async def send(call: Call, order: Order) -> tuple[Progress, bool]:
    """Accept all messages of an order in one transaction, or none: Problems name each refused one by its index. The flag says
    that an earlier call had accepted them."""
    try:
        return await _send(call, order, call.read)
    except IntegrityError:
        return await _raced(call, order)


async def _raced(call: Call, order: Order) -> tuple[Progress, bool]:
    """Somebody else used one of the keys meanwhile. A writer waits for them, a reader might not see them yet."""
    try:
        return await _send(call, order, call.write)
    except IntegrityError:
        message = "A request with one of these idempotency keys is being answered."
        raise Problem(UserErrorCode.IDEMPOTENCY_IN_PROGRESS, message, ["input"]) from None


async def _send(call: Call, order: Order, look: Look) -> tuple[Progress, bool]:
    async with look() as session:
        if earlier := await _replayed(session, call, order):
            return earlier, True
        _check_order(order)
        known = await _known(session, call, order.drafts)
        if earlier := await _same_batch(session, call, order, known):
            return earlier, True
        fresh = {i: draft for i, draft in enumerate(order.drafts) if draft.idempotency_key not in known}
        _check_drafts(order, fresh)
        planned = await _plan(session, call, fresh)
    progress = await _store(call, order, list(zip(fresh.values(), planned, strict=True)))
    call.means.bell.ring(JOBS)
    return progress, False


def _check_order(order: Order) -> None:
    if not 1 <= len(order.drafts) <= MOST:
        message = f"A batch has 1 to {MOST} messages, not {len(order.drafts)}."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "messages"])
    if order.idempotency_key is not None and not limits.is_key(order.idempotency_key):
        message = (
            f"An idempotency key has 1 to {limits.LONGEST['idempotency_key']} characters, without NUL and unpaired surrogates."
        )
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "idempotencyKey"])


def _check_drafts(order: Order, fresh: Mapping[int, Draft]) -> None:
    """Raise Problems for keys that are there twice, and with everything no channel would take of the drafts that are new."""
    problems = _repeated(order.drafts)
    for i, draft in fresh.items():
        try:
            limits.check(draft)
        except Problems as found:
            problems += [_of(i, problem) for problem in found.problems]
    if problems:
        raise Problems(problems)


def _repeated(drafts: Sequence[Draft]) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for i, draft in enumerate(drafts):
        key = draft.idempotency_key
        if key is not None and first.setdefault(key, i) != i:
            message = f"Message {first[key]} of this batch has the same idempotency key."
            path = ["input", "idempotencyKey"]
            problems.append(_of(i, Problem(UserErrorCode.IDEMPOTENCY_KEY_REUSED, message, path)))
    return problems


def _of(index: int, problem: Problem) -> Problem:
    """A draft's problem as one of the batch: its path begins at the message's index."""
    path = ["input", "messages", str(index), *(problem.field or [])[1:]]
    return Problem(problem.code, problem.message, path, **problem.extra)


async def _replayed(session: AsyncSession, call: Call, order: Order) -> Progress | None:
    if not limits.is_key(order.idempotency_key):
        return None
    earlier = await rows.by_idempotency_key(session, call.workspace_id, order.idempotency_key)
    if earlier is None:
        return None
    for channel in earlier.channels.split():
        call.require(send_scope(channel))
    if not call.is_repeated(earlier.request_hash, order.content()):
        message = "This idempotency key was used for another batch."
        raise Problem(UserErrorCode.IDEMPOTENCY_KEY_REUSED, message, ["input", "idempotencyKey"])
    return await rows.progress(session, call.workspace_id, earlier)


async def _known(session: AsyncSession, call: Call, drafts: Sequence[Draft]) -> dict[str, Message]:
    """Messages accepted before, by their idempotency keys. Raises Problems for keys used with another content."""
    keyed = {draft.idempotency_key: (i, draft) for i, draft in enumerate(drafts) if limits.is_key(draft.idempotency_key)}
    known = await rows.by_idempotency_keys(session, call.workspace_id, list(keyed))
    problems = []
    for key, message in known.items():
        i, draft = keyed[key]
        call.require(send_scope(message.channel_type))
        if not call.is_repeated(message.request_hash, draft.content()):
            text = "This idempotency key was used for another message."
            problems.append(_of(i, Problem(UserErrorCode.IDEMPOTENCY_KEY_REUSED, text, ["input", "idempotencyKey"])))
    if problems:
        raise Problems(problems)
    return known


async def _same_batch(session: AsyncSession, call: Call, order: Order, known: dict[str, Message]) -> Progress | None:
    """The earlier batch, when every message of the order was accepted in one."""
    earlier = {message.batch_id for message in known.values()}
    batch_id = earlier.pop() if len(known) == len(order.drafts) and len(earlier) == 1 else None
    batch = await rows.get(session, call.workspace_id, batch_id) if batch_id is not None else None
    return await rows.progress(session, call.workspace_id, batch) if batch is not None else None


async def _plan(session: AsyncSession, call: Call, drafts: dict[int, Draft]) -> list[Planned]:
    """Where each draft would go. Raises Problems with everything that is wrong with any of them."""
    planned: dict[int, Planned] = {}
    problems: list[Problem] = []
    lookup = Lookup(session, call.workspace_id)
    async for i, draft in _unhurried(drafts.items()):
        try:
            planned[i] = await messages.plan(session, call, draft, lookup)
        except Problem as problem:
            if isinstance(problem.code, RequestErrorCode):
                raise
            problems.append(_of(i, problem))
    asked = {i: plan.asks(drafts[i]) for i, plan in planned.items()}
    problems += [_of(i, problem) for i, problem in (await permits.opted_out(session, call, asked)).items()]
    if problems:
        raise Problems(problems)
    return list(planned.values())


async def _unhurried(items: Iterable[Item]) -> AsyncGenerator[Item]:
    """Each in turn; now and then whoever else waits for the loop has it."""
    for i, item in enumerate(items):
        if i % BREATH == 0:
            await asyncio.sleep(0)
        yield item


async def _store(call: Call, order: Order, planned: Sequence[tuple[Draft, Planned]]) -> Progress:
    batch_id = ids.new_id(ids.BATCH)
    made = [messages.row_of(call, draft, plan, batch_id) async for draft, plan in _unhurried(planned)]
    accepted = [underway(row) for row in made]
    batch = Batch(
        id=batch_id,
        workspace_id=call.workspace_id,
        total=len(accepted),
        already_accepted=len(order.drafts) - len(accepted),
        channels=" ".join(sorted({message.channel_type for message in accepted})),
        idempotency_key=order.idempotency_key,
        request_hash=call.signature(order.content()) if order.idempotency_key is not None else None,
        created_at=now(),
    )
    async with call.write() as session:
        await rows.store(session, call.workspace_id, batch, made, [messages.job_of(message) for message in accepted])
        for message in accepted:
            message_changed(session, message, None, TimelineSource.API, detail="Accepted")
        progress = await rows.progress(session, call.workspace_id, batch)
    call.means.meters.accept(accepted)
    return progress


async def get(call: Call, batch_id: str) -> Progress | None:
    """A batch, or None for one that is not here or holds messages of a channel the viewer may not read."""
    if not readable_channels(call):
        raise Problem(
            RequestErrorCode.FORBIDDEN, "This needs a scope to read messages, such as read:*.", requiredScope="read:*"
        )
    async with call.read() as session:
        batch = await rows.get(session, call.workspace_id, batch_id)
        if batch is None or not all(call.viewer.has(read_scope(channel)) for channel in batch.channels.split()):
            return None
        return await rows.progress(session, call.workspace_id, batch)


async def failures(call: Call, batch_id: str) -> Sequence[Message]:
    async with call.read() as session:
        return await rows.failures(session, call.workspace_id, batch_id, SHOWN_FAILURES)


async def follow(call: Call, batch_id: str, interval_ms: int) -> AsyncGenerator[Progress]:
    """A batch as it is, then as it changes, at most once in `interval_ms`; ends when the batch is complete."""
    if not FASTEST_MS <= interval_ms <= SLOWEST_MS:
        message = f"intervalMs must be from {FASTEST_MS} to {SLOWEST_MS}."
        raise Problem(RequestErrorCode.BAD_USER_INPUT, message, ["intervalMs"])
    async with call.means.tails.open(call.workspace_id) as follower:
        seen, shown = await _state(call, batch_id)
        yield shown
        while not shown.is_complete and await _moved(follower, batch_id, seen):
            await asyncio.sleep(interval_ms / 1000)
            seen, current = await _state(call, batch_id)
            if current != shown:
                shown = current
                yield shown


async def _state(call: Call, batch_id: str) -> tuple[int, Progress]:
    """A batch, and the number of an event that it surely contains."""
    async with call.read() as session:
        head = await events.head(session, call.workspace_id)
    progress = await get(call, batch_id)
    if progress is None:
        raise Problem(RequestErrorCode.BAD_USER_INPUT, "There is no such batch.", ["batchId"])
    return head, progress


async def _moved(follower: Follower[Event], batch_id: str, seen: int) -> bool:
    """Wait for a message of the batch to move past event `seen`; False when there is nothing more to come."""
    async for event in follower:
        if event.seq > seen and event.kind == MESSAGE and event.payload["batchId"] == batch_id:
            return True
    return False
