"""Accepting messages: those that come at the same time are stored in one transaction, by a statement for each table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from models import batches as rows
from models import queue
from models.bell import JOBS
from models.messages import Message, by_idempotency_key, insert_all
from models.timeline import TimelineSource, message_changed
from resolvers import limits, messages, permits
from resolvers.call import Call
from resolvers.candidates import Lookup
from resolvers.messages import Draft, Planned, send_scope
from resolvers.problems import Problem, Problems, UserErrorCode

Answer = tuple[Message, bool]


@dataclass(frozen=True, slots=True)
class Sending:
    """A message somebody wants sent."""

    call: Call
    draft: Draft


async def send(call: Call, draft: Draft) -> Answer:
    """Accept a message: when this returns, it is stored and will be sent. The flag says that an earlier call with the same
    idempotency key and the same content had already done so. What was accepted is answered whatever the limits are by now."""
    try:
        limits.check(draft)
    except Problems:
        earlier = await _accepted(call, draft)
        if earlier is None:
            raise
        return earlier, True
    message, is_replay = await call.means.sends.add(Sending(call, draft))
    call.means.meters.accept([] if is_replay else [message])
    return message, is_replay


async def _accepted(call: Call, draft: Draft) -> Message | None:
    """What an earlier call with the same idempotency key has stored."""
    if not limits.is_key(draft.idempotency_key):
        return None
    async with call.read() as session:
        earlier = await by_idempotency_key(session, call.workspace_id, draft.idempotency_key)
    return _replayed(Sending(call, draft), earlier) if earlier is not None else None


async def accept_all(sendings: Sequence[Sending]) -> Sequence[Answer | Exception]:
    """An answer for each, in order. Workspaces do not meet in a transaction; nor do two messages with the same key."""
    answers: dict[int, Answer | Exception] = {}
    left = dict(enumerate(sendings))
    while left:
        round_ = _distinct(left)
        answers |= await _accept(round_)
        left = {i: sending for i, sending in left.items() if i not in round_}
    return [answers[i] for i in range(len(sendings))]


def _distinct(left: dict[int, Sending]) -> dict[int, Sending]:
    """Those of one workspace whose idempotency keys differ."""
    workspace_id = next(iter(left.values())).call.workspace_id
    keys: set[str] = set()
    found = {}
    for i, sending in left.items():
        key = sending.draft.idempotency_key
        if sending.call.workspace_id == workspace_id and (key is None or key not in keys):
            found[i] = sending
            keys |= {key} if key is not None else set()
    return found


async def _accept(sendings: dict[int, Sending]) -> dict[int, Answer | Exception]:
    answers, planned = await _plan(sendings)
    try:
        return answers | await _store(sendings, planned)
    except IntegrityError:
        if len(sendings) > 1:
            return await _one_by_one(sendings)
        answers, planned = await _plan(sendings)
        return answers or {i: _in_progress() for i in sendings}


async def _one_by_one(sendings: dict[int, Sending]) -> dict[int, Answer | Exception]:
    """Another process took one of the keys meanwhile: only that one is concerned."""
    answers: dict[int, Answer | Exception] = {}
    for i, sending in sendings.items():
        answers |= await _accept({i: sending})
    return answers


async def _plan(sendings: dict[int, Sending]) -> tuple[dict[int, Answer | Exception], dict[int, Planned]]:
    """What can be answered at once, and where the others would go."""
    call = next(iter(sendings.values())).call
    keys = [s.draft.idempotency_key for s in sendings.values() if s.draft.idempotency_key is not None]
    answers: dict[int, Answer | Exception] = {}
    planned: dict[int, Planned] = {}
    async with call.read() as session:
        known = await rows.by_idempotency_keys(session, call.workspace_id, keys)
        lookup = Lookup(session, call.workspace_id)
        for i, sending in sendings.items():
            try:
                if earlier := known.get(sending.draft.idempotency_key or ""):
                    answers[i] = (_replayed(sending, earlier), True)
                else:
                    planned[i] = await messages.plan(session, sending.call, sending.draft, lookup)
            except Problem as problem:
                answers[i] = problem
        asked = {i: plan.asks(sendings[i].draft) for i, plan in planned.items()}
        answers |= (unwanted := await permits.opted_out(session, call, asked))
    return answers, {i: plan for i, plan in planned.items() if i not in unwanted}


def _replayed(sending: Sending, earlier: Message) -> Message:
    sending.call.require(send_scope(earlier.channel_type))
    if not sending.call.is_repeated(earlier.request_hash, sending.draft.content()):
        message = "This idempotency key was used for another message."
        raise Problem(UserErrorCode.IDEMPOTENCY_KEY_REUSED, message, ["input", "idempotencyKey"])
    return earlier


async def _store(sendings: dict[int, Sending], planned: dict[int, Planned]) -> dict[int, Answer | Exception]:
    if not planned:
        return {}
    call = next(iter(sendings.values())).call
    stored = {i: messages.row_of(sendings[i].call, sendings[i].draft, plan) for i, plan in planned.items()}
    accepted = {i: Message(**row) for i, row in stored.items()}
    jobs = [messages.job_of(message) for message in accepted.values()]
    passwords = Counter(job["lane_id"] for job in jobs if queue.is_urgent(job))
    async with call.means.express(passwords) as claim, call.write() as session:
        await insert_all(session, call.workspace_id, list(stored.values()))
        await queue.enqueue_all(session, jobs)
        for message in accepted.values():
            message_changed(session, message, None, TimelineSource.API, detail="Accepted")
        await claim(session)
    call.means.bell.ring(JOBS)
    return {i: (message, False) for i, message in accepted.items()}


def _in_progress() -> Problem:
    message = "A request with this idempotency key is being answered."
    return Problem(UserErrorCode.IDEMPOTENCY_IN_PROGRESS, message, ["input", "idempotencyKey"])
