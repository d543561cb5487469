"""What a reviewer should know of a sender ID, computed when asked for. It speaks of other tenants: for reviewers alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from models import senders as rows
from models.senders import SenderId, SenderIdKind, SenderIdStatus
from resolvers.sender_values import disguises, skeleton

SHORTEST_WITHIN = 4
SHORTEST_NEAR = 5

PROTECTED: tuple[str, ...] = (
    *("Airbnb", "Alibaba", "Amazon", "AmEx", "Apple", "AppStore", "Barclays", "Binance", "BofA", "Booking", "Chase", "Citi"),
    *(
        "Coinbase",
        "DHL",
        "DPD",
        "eBay",
        "Emirates",
        "Facebook",
        "FedEx",
        "GitHub",
        "Gmail",
        "Google",
        "Halifax",
        "HMRC",
        "HSBC",
    ),
    *("iCloud", "Instagram", "Interac", "IRS", "LinkedIn", "Lloyds", "MasterCard", "Meta", "Microsoft", "Monzo", "NatWest"),
    *("Netflix", "NHS", "OpenAI", "Outlook", "PayPal", "PostNL", "Revolut", "RoyalMail", "Santander", "Signal", "Sparkasse"),
    *("Spotify", "Stripe", "Telegram", "TikTok", "Twitter", "Uber", "UPS", "USPS", "Venmo", "Visa", "WellsFargo", "WhatsApp"),
    *("Wise", "Yahoo", "Zelle", "Bank", "Police", "Gov", "Customs", "Tax", "Verify", "Security", "Support", "Emergency", "112"),
)
"""Names people trust with money, parcels and secrets, and words of authority. An installation adds its own."""

NAMES_REPLACED = frozenset("US CA PR MX BR AR CL CO CR EC PA UY DO PE PK ZA NZ JP KR TW MY HU BE VE".split())
REGISTRATION = frozenset(
    """AE AM AU BD BY BA CN CU EG ET ID IN IQ IR JO KE KW KZ LK MA NG NP OM PH QA RO RU RW SA SG SY TH TN TR TZ UG UA VN
    ZM""".split()
)
"""Where operators do not show names, and where they want them registered. Rules change often: hints, nothing more."""


async def of(session: AsyncSession, senders: Sequence[SenderId], protected: Collection[str] = ()) -> list[list[str]]:
    """Sentences about each, in order; `protected` are names beside the built-in ones."""
    alike = await rows.alike(session, sorted({sender.skeleton for sender in senders}))
    names = (*PROTECTED, *protected)
    return [[*looks(one, names), *_others(one, alike), *_rejections(one, alike), *_country(one)] for one in senders]


def looks(sender: SenderId, names: Collection[str]) -> list[str]:
    if sender.kind != SenderIdKind.ALPHANUMERIC:
        return []
    likened = [name for name in names if _is_like(sender.skeleton, skeleton(name))]
    found = [f"Protected: it looks like {name}." for name in dict.fromkeys(likened)]
    return found + [f"Look-alike: {word} has digits where letters could be read." for word in disguises(sender.value)]


def _is_like(mine: str, protected: str) -> bool:
    """The same, holding the other one, or one letter away from it."""
    if mine == protected or (len(protected) >= SHORTEST_WITHIN and protected in mine):
        return True
    return len(protected) >= SHORTEST_NEAR and _is_one_away(mine, protected)


def _is_one_away(one: str, other: str) -> bool:
    """One letter put in, left out or exchanged."""
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1:
        return False
    same = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]


def _others(sender: SenderId, alike: Sequence[SenderId]) -> list[str]:
    words = {SenderIdStatus.APPROVED: "Owned", SenderIdStatus.PENDING: "Asked for"}
    theirs = [other for other in alike if other.skeleton == sender.skeleton and other.workspace_id != sender.workspace_id]
    return [f"{words[s]}: workspace {o.workspace_id} has {o.value}." for s in words for o in theirs if o.status == s]


def _rejections(sender: SenderId, alike: Sequence[SenderId]) -> list[str]:
    found = []
    for other in (one for one in alike if one.skeleton == sender.skeleton):
        where = "here" if other.workspace_id == sender.workspace_id else f"in workspace {other.workspace_id}"
        for earlier in other.rejections:
            note = f": {earlier['note']}" if earlier["note"] else "."
            found.append(f"Rejected before, {where}, as {other.value} on {earlier['at'][:10]}{note}")
    return found


def _country(sender: SenderId) -> list[str]:
    if sender.kind != SenderIdKind.ALPHANUMERIC or sender.country is None:
        return []
    if sender.country in NAMES_REPLACED:
        return [f"Country: operators in {sender.country} usually replace names by a number."]
    return [f"Country: {sender.country} wants names registered."] if sender.country in REGISTRATION else []
