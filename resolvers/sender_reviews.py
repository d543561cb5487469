"""Reviewing sender IDs: by a platform administrator in person, and never by who asked for it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from models import senders as rows
from models.base import now
from models.senders import SenderId, SenderIdStatus, changed
from resolvers import audit, senders
from resolvers.call import Call
from resolvers.limits import UNSTORABLE
from resolvers.problems import Problem, RequestErrorCode, UserErrorCode

LONGEST_NOTE = 2_000


class ReviewDecision(StrEnum):
    APPROVE = "APPROVE"
    REJECT = "REJECT"


async def review(call: Call, sender_id: str, decision: ReviewDecision, note: str | None) -> SenderId:
    """Decide about a PENDING one, of whatever workspace. Raises ALREADY_REVIEWED for any other."""
    call.require_admin()
    note = _note(note)
    async with call.write() as session:
        sender = await senders.found(session, None, sender_id)
        if call.viewer.subject in (sender.requested_by, sender.updated_by):
            message = "Nobody reviews a sender ID they asked for themselves."
            raise Problem(RequestErrorCode.FORBIDDEN, message, ["input", "id"])
        values = _values(call, sender, decision, note)
        moved = await rows.move(session, sender.workspace_id, sender_id, (SenderIdStatus.PENDING,), values)
        if moved is None:
            raise _not_pending(sender)
        changed(session, moved, moved.status.lower(), SenderIdStatus.PENDING)
        after = {"status": moved.status, "reviewNote": note}
        before = {"status": SenderIdStatus.PENDING.value}
        audit.record(call, session, "senderIdReview", sender_id, before, after, moved.workspace_id)
        return moved


def _values(call: Call, sender: SenderId, decision: ReviewDecision, note: str | None) -> dict[str, Any]:
    at = now()
    reviewed = {"review_note": note, "reviewed_at": at, "reviewed_by": call.viewer.subject}
    if decision is ReviewDecision.APPROVE:
        return {**reviewed, "status": SenderIdStatus.APPROVED}
    rejections = [*sender.rejections, {"at": at.isoformat(), "note": note}]
    return {**reviewed, "status": SenderIdStatus.REJECTED, "rejections": rejections}


def _not_pending(sender: SenderId) -> Problem:
    if sender.status == SenderIdStatus.REVOKED:
        return Problem(UserErrorCode.INVALID_STATE, "The sender ID was taken back.", ["input", "id"], conflictingId=sender.id)
    message = f"The sender ID was reviewed before: it is {sender.status}."
    return Problem(UserErrorCode.ALREADY_REVIEWED, message, ["input", "id"], conflictingId=sender.id)


def _note(given: str | None) -> str | None:
    if given is not None and (len(given) > LONGEST_NOTE or UNSTORABLE.search(given)):
        message = f"note has at most {LONGEST_NOTE} characters, without NUL and unpaired surrogates."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "note"])
    return (given or "").strip() or None
