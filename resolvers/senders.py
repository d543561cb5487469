"""Sender IDs: ask for one, change the request, look at them, give one up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import ChannelType
from channels.phone import is_country
from models import ids
from models import senders as rows
from models.base import now
from models.events import PLATFORM
from models.senders import Filter, SenderId, SenderIdStatus, changed
from resolvers import audit, sender_hints
from resolvers.call import Call, digest
from resolvers.limits import UNSTORABLE
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, Problems, UserErrorCode, collected
from resolvers.sender_values import SenderValue
from resolvers.viewer import CredentialKind

READ, WRITE = "sender-ids:read", "sender-ids:write"
CHANNELS = (ChannelType.SMS, ChannelType.SIMULATOR)
LONGEST = {"use_case": ("useCase", 2_000), "sample_message": ("sampleMessage", 1_600)}
PENDING, APPROVED, REJECTED, REVOKED = SenderIdStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSender:
    """What a workspace asks for."""

    value: str
    channel: str = ChannelType.SMS.value
    country: str | None = None
    use_case: str | None = None
    sample_message: str | None = None


def reviews(call: Call) -> bool:
    """The caller may look into all workspaces: a platform administrator in person."""
    return call.viewer.is_platform_admin and call.viewer.credential is CredentialKind.SESSION


def _reach(call: Call) -> str | None:
    """The workspace whose sender IDs the caller may see; None is every one."""
    if reviews(call):
        return None
    call.require(READ)
    return call.workspace_id


def log_of(call: Call) -> str:
    """The event log in which the caller follows sender IDs: for reviewers that of the platform."""
    return _reach(call) or PLATFORM


async def by_ids(call: Call, sender_ids: Sequence[str]) -> list[SenderId | None]:
    """In the order asked for; for whoever may see what names them."""
    async with call.read() as session:
        reach = None if reviews(call) else call.workspace_id
        found = {row.id: row for row in await rows.by_ids(session, reach, sender_ids)}
    return [found.get(key) for key in sender_ids]


async def hints(call: Call, senders: Sequence[SenderId]) -> list[list[str]]:
    """What a reviewer should know of each."""
    async with call.read() as session:
        return await sender_hints.of(session, senders, call.means.protected_names)


async def page(call: Call, arguments: PageArguments, where: Filter, all_workspaces: bool) -> Page[SenderId]:
    """Newest first, of the workspace; with `all_workspaces` of all, for platform administrators in person."""
    if all_workspaces:
        call.require_admin()
        reach = None
    else:
        call.require(READ)
        reach = call.workspace_id
    scope = f"senders|{reach}|{digest([getattr(where, name) for name in where.__slots__])}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await rows.page(session, reach, where, window)

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session, reach, where)

    return cut(found, window, arguments, lambda sender: call.means.cursors.seal(scope, (sender.id,)), total)


async def get(call: Call, sender_id: str) -> SenderId | None:
    """A sender ID of the workspace, and for platform administrators of any."""
    reach = _reach(call)
    async with call.read() as session:
        return await rows.get(session, reach, sender_id)


async def create(call: Call, new: NewSender) -> SenderId:
    """A request, PENDING until somebody reviews it. Raises Problems with everything that is wrong with it."""
    call.require(WRITE)
    value = _checked(new)
    try:
        async with call.write() as session:
            return await _insert(session, call, new, value)
    except IntegrityError:
        raise await _taken(call, new, value) from None


def _checked(new: NewSender) -> SenderValue:
    problems: list[Problem] = []
    values = []
    with collected(problems):
        values.append(SenderValue.parse(new.value))
    with collected(problems):
        _described({"country": new.country, "use_case": new.use_case, "sample_message": new.sample_message})
    if new.channel not in CHANNELS:
        message = f"Only {' and '.join(CHANNELS)} have sender IDs."
        problems.append(Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "channel"]))
    if problems:
        raise Problems(problems)
    return values[0]


def _described(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """What is told about a sender ID, in its stored form; an empty text is none. Raises Problems."""
    values = {name: text.strip() or None if text is not None else None for name, text in given.items()}
    problems = []
    for name, (shown, longest) in LONGEST.items():
        if len(values.get(name) or "") > longest:
            problems.append(_invalid(shown, f"{shown} has at most {longest} characters."))
        if UNSTORABLE.search(values.get(name) or ""):
            problems.append(_invalid(shown, f"{shown} must not hold NUL or unpaired surrogates."))
    if country := values.get("country"):
        values["country"] = country.upper()
        if not is_country(country.upper()):
            problems.append(_invalid("country", "country is a code of two letters (ISO 3166-1), as in GB."))
    if problems:
        raise Problems(problems)
    return values


def _invalid(name: str, message: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", name])


async def _insert(session: AsyncSession, call: Call, new: NewSender, value: SenderValue) -> SenderId:
    at = now()
    sender = SenderId(
        id=ids.new_id(ids.SENDER_ID),
        workspace_id=call.workspace_id,
        channel_type=new.channel,
        value=value.value,
        kind=value.kind,
        key=value.key,
        skeleton=value.skeleton,
        **_described({"country": new.country, "use_case": new.use_case, "sample_message": new.sample_message}),
        status=PENDING,
        requested_by=call.viewer.subject,
        updated_by=call.viewer.subject,
        rejections=[],
        created_at=at,
        updated_at=at,
    )
    session.add(sender)
    await session.flush()
    changed(session, sender, "created", None)
    audit.record(call, session, "senderIdCreate", sender.id, after=_shown(sender))
    return sender


async def _taken(call: Call, new: NewSender, value: SenderValue) -> Problem:
    async with call.write() as session:
        other = await rows.by_key(session, call.workspace_id, new.channel, value.key)
    message = f"The workspace has this sender ID already; it is {other.status if other else 'being asked for'}."
    path = ["input", "value"]
    return Problem(UserErrorCode.SENDER_ID_ALREADY_EXISTS, message, path, conflictingId=other.id if other else None)


async def update(call: Call, sender_id: str, given: Mapping[str, str | None]) -> SenderId:
    """Change what is told about one that is not approved. A rejected one goes back to PENDING."""
    call.require(WRITE)
    if not given:
        raise Problem(UserErrorCode.VALIDATION_ERROR, "Give at least one field to change.", ["input"])
    values: dict[str, Any] = {**_described(given), "updated_by": call.viewer.subject, "status": PENDING}
    async with call.write() as session:
        sender = await found(session, call.workspace_id, sender_id)
        previous, before = sender.status, _shown(sender)
        if previous == REJECTED:
            values |= {"review_note": None, "reviewed_at": None, "reviewed_by": None}
        moved = await rows.move(session, call.workspace_id, sender_id, (PENDING, REJECTED), values)
        if moved is None:
            message = f"The sender ID is {sender.status}; what was reviewed stays as it is."
            raise Problem(UserErrorCode.INVALID_STATE, message, ["input", "id"], conflictingId=sender_id)
        changed(session, moved, "updated", previous)
        audit.record(call, session, "senderIdUpdate", sender_id, before, _shown(moved))
        return moved


async def delete(call: Call, sender_id: str) -> SenderId:
    """Give one up: it is REVOKED, and what waits to be sent under it fails when its turn comes. Again, it answers the same.
    Platform administrators may take away any."""
    if not reviews(call):
        call.require(WRITE)
    async with call.write() as session:
        sender = await found(session, None if reviews(call) else call.workspace_id, sender_id)
        previous = sender.status
        moved = await rows.move(session, sender.workspace_id, sender_id, (PENDING, APPROVED, REJECTED), {"status": REVOKED})
        if moved is not None:
            changed(session, moved, "revoked", previous)
            after, owner = {"status": moved.status}, sender.workspace_id
            audit.record(call, session, "senderIdDelete", sender_id, {"status": previous}, after, owner)
        return moved or sender


def _shown(sender: SenderId) -> dict[str, Any]:
    """A sender ID as the audit log knows it."""
    told = {"country": sender.country, "useCase": sender.use_case, "sampleMessage": sender.sample_message}
    return {"value": sender.value, "channelType": sender.channel_type, "status": sender.status, **told}


async def found(session: AsyncSession, workspace_id: str | None, sender_id: str) -> SenderId:
    """Raises SENDER_ID_NOT_FOUND, blaming `id`."""
    sender = await rows.get(session, workspace_id, sender_id)
    if sender is None:
        raise Problem(UserErrorCode.SENDER_ID_NOT_FOUND, "There is no such sender ID.", ["input", "id"])
    return sender
