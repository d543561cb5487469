"""Opt-outs: add and remove them by hand, look at them."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import ChannelType
from channels.phone import e164
from delivery import optouts
from delivery.optouts import Added, Wish
from models import optouts as rows
from models.optouts import Filter, OptOut, OptOutSource
from resolvers import audit
from resolvers.call import Call, digest
from resolvers.limits import LONGEST, UNSTORABLE
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, UserErrorCode

READ, WRITE = "opt-outs:read", "opt-outs:write"
LONGEST_REASON = 500
BY_NUMBER = frozenset({ChannelType.SMS, ChannelType.WHATSAPP})


async def page(call: Call, arguments: PageArguments, where: Filter) -> Page[OptOut]:
    """Newest first."""
    call.require(READ)
    scope = f"optouts|{call.workspace_id}|{digest([getattr(where, name) for name in where.__slots__])}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await rows.page(session, call.workspace_id, where, window)

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session, call.workspace_id, where)

    return cut(found, window, arguments, lambda opt_out: call.means.cursors.seal(scope, (opt_out.id,)), total)


async def get(call: Call, opt_out_id: str) -> OptOut | None:
    call.require(READ)
    async with call.read() as session:
        return await rows.get(session, call.workspace_id, opt_out_id)


async def add(call: Call, recipient: str, channel: str, reason: str | None) -> Added:
    """Opt a recipient out. Whoever had opted out before stays as they are; what has come for them since is canceled."""
    call.require(WRITE)
    wish = _wish(call, recipient, channel, _reason(reason))
    async with call.write() as session:
        added = await optouts.add(session, wish)
        after = {"recipient": added.opt_out.recipient, "channelType": channel, "reason": wish.reason}
        audit.record(call, session, "optOutAdd", added.opt_out.id, after=after)
        return added


async def remove(call: Call, recipient: str, channel: str) -> OptOut:
    """Opt a recipient in again. Raises OPT_OUT_NOT_FOUND when they had not opted out."""
    call.require(WRITE)
    wish = _wish(call, recipient, channel)
    async with call.write() as session:
        removed = await optouts.remove(session, wish)
        if removed is None:
            message = "The recipient has not opted out of this channel."
            raise Problem(UserErrorCode.OPT_OUT_NOT_FOUND, message, ["input", "recipient"])
        before = {"recipient": removed.recipient, "channelType": channel}
        audit.record(call, session, "optOutRemove", removed.id, before)
        return removed


async def opted_out(session: AsyncSession, call: Call, channel: str, recipient: str) -> bool:
    """Whether a recipient, in the channel's canonical form, does not want messages of the workspace."""
    return await rows.by_recipient(session, call.workspace_id, channel, recipient) is not None


def _wish(call: Call, recipient: str, channel: str, reason: str | None = None) -> Wish:
    return Wish(call.workspace_id, channel, _canonical(recipient, channel), OptOutSource.API, reason=reason)


def _canonical(recipient: str, channel: str) -> str:
    """An address as messages spell it. Raises INVALID_DESTINATION."""
    path, text = ["input", "recipient"], recipient.strip()
    if channel in BY_NUMBER:
        try:
            return e164(text)
        except ValueError as error:
            raise Problem(UserErrorCode.INVALID_DESTINATION, str(error), path) from None
    if not text or len(text) > LONGEST["to"] or UNSTORABLE.search(text):
        message = f"A recipient has 1 to {LONGEST['to']} characters, without NUL and unpaired surrogates."
        raise Problem(UserErrorCode.INVALID_DESTINATION, message, path)
    if channel == ChannelType.EMAIL and "@" not in text[1:-1]:
        raise Problem(UserErrorCode.INVALID_DESTINATION, "The recipient is not an e-mail address.", path)
    return text


def _reason(given: str | None) -> str | None:
    if given is not None and (len(given) > LONGEST_REASON or UNSTORABLE.search(given)):
        message = f"reason has at most {LONGEST_REASON} characters, without NUL and unpaired surrogates."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "reason"])
    return (given or "").strip() or None
