"""Messages that were accepted: change what has not left, take it back, send it again, forget it.

A message that waits belongs to whoever takes its job first: a worker who sends it, or one of these. There is no moment at
which both have it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Media
from channels.errors import FailureKind, SendError
from delivery import retry
from delivery.verdict import failure_of
from models import messages as rows
from models import queue, redaction, waiting
from models.base import now
from models.bell import JOBS
from models.messages import Message, MessageStatus
from models.timeline import TimelineSource, message_changed, message_noted
from models.waiting import UNDER_WAY, WAITING
from resolvers import audit, limits, messages, permits
from resolvers.call import Call
from resolvers.messages import Draft, Fallback, send_scope
from resolvers.problems import Problem, UserErrorCode

CANCELED = SendError(FailureKind.CANCELED, "MESSAGE_CANCELED", "The message was canceled before it was sent.")


async def update(call: Call, message_id: str, given: Mapping[str, Any]) -> Message:
    """Change `scheduled_at`, `priority` or `validity_seconds` of a message that has not left; None clears one."""
    limits.check(_as_draft(given))
    async with call.write() as session:
        held = await waiting.hold(session, call.workspace_id, message_id)
        message = await _found(session, call, message_id)
        if not held or message.status not in WAITING:
            raise _left(message, "changed")
        values = _values(message, given)
        if not values:
            return message
        before = _planned(message)
        changed = await _change(session, message, values)
        audit.record(call, session, "messageUpdate", message_id, before, _planned(changed))
    call.means.bell.ring(JOBS)
    return changed


def _planned(message: Message) -> dict[str, Any]:
    """What an update may change, as the audit log keeps it."""
    times = {"scheduledAt": message.scheduled_at, "expiresAt": message.expires_at}
    return {"priority": message.priority, **{name: at and at.isoformat() for name, at in times.items()}}


def _as_draft(given: Mapping[str, Any]) -> Draft:
    """The times a caller gives an old message are held to the rules of a new one."""
    return Draft(to="-", scheduled_at=given.get("scheduled_at"), validity_seconds=given.get("validity_seconds"))


def _values(message: Message, given: Mapping[str, Any]) -> dict[str, Any]:
    """The message's own columns as they become."""
    at = now()
    values: dict[str, Any] = {}
    if "priority" in given:
        values["priority"] = given["priority"] or messages.priority_of(Draft(to="-", flow=message.flow))
    if "scheduled_at" in given:
        planned = given["scheduled_at"]
        later = planned is not None and planned > at
        values |= {"scheduled_at": planned, "status": MessageStatus.SCHEDULED if later else MessageStatus.QUEUED}
    if "scheduled_at" in given or "validity_seconds" in given:
        lifetime = _lifetime(message, given)
        begins = max(at, values.get("scheduled_at", message.scheduled_at) or at)
        values["expires_at"] = begins + lifetime if lifetime is not None else None
    return values


def _lifetime(message: Message, given: Mapping[str, Any]) -> dt.timedelta | None:
    if "validity_seconds" not in given:
        return lifetime(message)
    if given["validity_seconds"] is not None:
        return dt.timedelta(seconds=given["validity_seconds"])
    return retry.OTP_VALIDITY if message.flow == "OTP" else None


def lifetime(message: Message) -> dt.timedelta | None:
    """How long it may take from when a message is due until it is sent, in the whole seconds it was given."""
    if message.expires_at is None:
        return None
    given = message.expires_at - (message.scheduled_at or message.created_at)
    return dt.timedelta(seconds=max(1, round(given.total_seconds())))


async def _change(session: AsyncSession, message: Message, values: Mapping[str, Any]) -> Message:
    """Write down a change of a message whose job is held."""
    workspace_id, previous = message.workspace_id, message.status
    urgency = queue.urgency(message.flow, values.get("priority", message.priority))
    await waiting.hasten(session, workspace_id, message.id, urgency, values.get("expires_at", message.expires_at))
    if MessageStatus.SCHEDULED in (previous, values.get("status")) and "status" in values:
        run_at = values["scheduled_at"] if values["status"] == MessageStatus.SCHEDULED else None
        await waiting.postpone(session, workspace_id, message.id, run_at)
    changed = await rows.move(session, workspace_id, message.id, WAITING, values)
    if changed is None:
        raise _left(message, "changed")
    if changed.status == previous:
        message_noted(session, changed, "updated", f"Changed: {', '.join(sorted(values.keys() - {'status'}))}")
    else:
        message_changed(session, changed, previous, TimelineSource.API, detail="Rescheduled")
    return changed


async def cancel(call: Call, message_id: str) -> Message:
    """Take back a message that has not left. Canceling it again answers the same."""
    async with call.write() as session:
        removed = await waiting.remove(session, call.workspace_id, [message_id])
        message = await _found(session, call, message_id)
        if message.status == MessageStatus.CANCELED:
            return message
        if not removed:
            raise _left(message, "canceled")
        before = {"status": message.status}
        canceled = await _withdraw(session, message)
        audit.record(call, session, "messageCancel", message_id, before, {"status": canceled.status})
        return canceled


async def _withdraw(session: AsyncSession, message: Message) -> Message:
    """Cancel a message whose job was taken out of the queue."""
    previous, values = message.status, {"status": MessageStatus.CANCELED, "failure": failure_of(CANCELED)}
    canceled = await rows.move(session, message.workspace_id, message.id, WAITING, values)
    if canceled is None:
        raise _left(message, "canceled")
    message_changed(session, canceled, previous, TimelineSource.API, detail=CANCELED.message)
    return canceled


async def resend(call: Call, message_id: str, connector_id: str | None) -> Message:
    """Accept a new message like one that has left, or never will. Of an UNKNOWN one the recipient may get two."""
    async with call.write() as session:
        original = await _found(session, call, message_id)
        if original.status in UNDER_WAY:
            raise _not_in(original, "resent", "it is still going to be sent")
        if original.redacted_at is not None:
            raise _not_in(original, "resent", "its recipient and its content were deleted")
        draft = _again(original, connector_id)
        planned = await _plan(session, call, draft)
        message = await messages.accept(session, call, draft, planned, f"Resent from {original.id}")
        message_noted(session, original, "resent", f"Resent as {message.id}")
        audit.record(call, session, "messageResend", original.id, after={"messageId": message.id})
    call.means.bell.ring(JOBS)
    call.means.meters.accept([message])
    return message


def _again(original: Message, connector_id: str | None) -> Draft:
    """The same message as a draft: due now, with as much time as it had."""
    kept = lifetime(original)
    draft = Draft(
        to=original.to,
        channel=original.channel_type,
        connector_id=connector_id or (original.connector_id if original.is_pinned else None),
        flow=original.flow,
        priority=original.priority,
        sender_id=original.sender_id,
        subject=original.subject,
        body=original.body,
        html=original.html,
        template=original.template,
        media=tuple(Media(**item) for item in original.media),
        metadata=original.details,
        client_reference=original.client_reference,
        fallbacks=tuple(Fallback(**choice) for choice in original.fallbacks),
    )
    return replace(draft, validity_seconds=int(kept.total_seconds())) if kept is not None else draft


async def _plan(session: AsyncSession, call: Call, draft: Draft) -> messages.Planned:
    """Problems are the stored message's or the connector's: the input has no other fields to blame."""
    try:
        planned = await messages.plan(session, call, draft)
        for unwanted in (await permits.opted_out(session, call, {0: planned.asks(draft)})).values():
            raise unwanted
        return planned
    except Problem as problem:
        path = ["input", "connectorId" if problem.field == ["input", "connectorId"] else "id"]
        raise Problem(problem.code, problem.message, path, **problem.extra) from None


async def redact(call: Call, message_id: str) -> Message:
    """Forget a message's recipient and content; one that has not left is canceled first. Again, it answers the same."""
    async with call.write() as session:
        removed = await waiting.remove(session, call.workspace_id, [message_id])
        message = await _found(session, call, message_id)
        if message.redacted_at is not None:
            return message
        if removed:
            await _withdraw(session, message)
        locked = await redaction.lock(session, call.workspace_id, message_id)
        if locked is None:
            raise _not_in(message, "deleted", "it is being handed to its provider; try again in a moment")
        redacted = await redaction.redact(session, locked, call.means.vault)
        message_noted(session, redacted, "redacted", "Recipient and content deleted")
        audit.record(call, session, "messageDelete", message_id, after={"redacted": True})
        return redacted


async def _found(session: AsyncSession, call: Call, message_id: str) -> Message:
    message = await rows.get(session, call.workspace_id, message_id)
    if message is None:
        raise Problem(UserErrorCode.MESSAGE_NOT_FOUND, "There is no such message.", ["input", "id"])
    call.require(send_scope(message.channel_type))
    return message


def _left(message: Message, verb: str) -> Problem:
    return _not_in(message, verb, "only what has not left can be")


def _not_in(message: Message, verb: str, reason: str) -> Problem:
    text = f"The message is {message.status} and cannot be {verb}: {reason}."
    return Problem(UserErrorCode.INVALID_STATE, text, ["input", "id"], conflictingId=message.id)
