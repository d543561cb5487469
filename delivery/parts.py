"""Parts of messages to us become messages. A part is stored before it is acknowledged, and the transaction that stores the last
one joins them: whenever a process dies, and whichever process hears the rest, nothing is lost and nothing told twice.

What bounds it: a message waits a day for its parts and is told with gaps then, or when its sender uses its reference for
another one; a connector has `MOST` such messages, beyond which each part is a message of its own. For a day a part that was
joined is known again by the provider's id of it, or, where it has none, for a few minutes by its content.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from itertools import groupby

from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Inbound, Part
from channels.sms_text import SmsCoding, read
from models import parts as rows
from models.base import JsonList, JsonObject, now
from models.connectors import Connector
from models.parts import PartedMessage

KEPT = dt.timedelta(hours=24)
REPEATED = dt.timedelta(minutes=5)  # a part that comes again so long after its message was joined is taken for a repetition
MOST = 10_000
GAP = "[…]"


async def joined(session: AsyncSession, connector: Connector, told: Inbound, part: Part) -> list[Inbound]:
    """What is whole with this part: nothing while others are missing, then the message. Before it, what was given up."""
    at = now()
    held = await rows.hold(session, connector.workspace_id, _fresh(connector, told, part, at))
    if _is_known(held, told, part, at):
        return []
    if not held.parts and await rows.incomplete(session, connector.workspace_id, connector.id, MOST + 1) > MOST:
        await rows.forget(session, connector.workspace_id, held)
        return [replace(told, part=None)]
    found: list[Inbound] = []
    began, kept = held.began_at, held.parts
    if _is_over(held, part, at):
        found += [message_of(held)] if held.joined_at is None else []
        began, kept = at, []
    kept = [*kept, _kept(told, part)]
    values: JsonObject = {"parts": kept, "began_at": began, "joined_at": None}
    if len(kept) == part.total:
        found.append(_message(held, began, kept))
        values |= {"parts": [{"number": one["number"], "digest": one["digest"]} for one in kept], "joined_at": at}
    await rows.keep(session, connector.workspace_id, held, values)
    return found


def message_of(held: PartedMessage) -> Inbound:
    """What has come of a message, with gaps where parts are missing."""
    return _message(held, held.began_at, held.parts)


def _fresh(connector: Connector, told: Inbound, part: Part, at: dt.datetime) -> PartedMessage:
    return PartedMessage(
        connector_id=connector.id,
        part_group=part.group,
        workspace_id=connector.workspace_id,
        sender=told.sender,
        recipient=told.to,
        total=part.total,
        parts=[],
        began_at=at,
        joined_at=None,
    )


def _is_known(held: PartedMessage, told: Inbound, part: Part, at: dt.datetime) -> bool:
    """It came before, and its acknowledgement was lost."""
    if told.provider_id is None and held.joined_at is not None and at - held.joined_at >= REPEATED:
        return False
    return any(one["number"] == part.number and one["digest"] == _digest(told, part) for one in held.parts)


def _is_over(held: PartedMessage, part: Part, at: dt.datetime) -> bool:
    """The part is of a later message, under the same reference."""
    is_taken = any(one["number"] == part.number for one in held.parts)
    return held.joined_at is not None or is_taken or at - held.began_at >= KEPT


def _kept(told: Inbound, part: Part) -> JsonObject:
    known = {"number": part.number, "digest": _digest(told, part)}
    return {**known, "id": told.provider_id, "coding": part.coding.value, "content": part.content.hex()}


def _digest(told: Inbound, part: Part) -> str:
    return hashlib.sha256(f"{told.provider_id}:{part.coding.value}:".encode() + part.content).hexdigest()


def _message(held: PartedMessage, began: dt.datetime, kept: JsonList) -> Inbound:
    return Inbound(
        event_id=f"{held.part_group}:{began.isoformat()}",
        sender=held.sender,
        to=held.recipient,
        occurred_at=began,
        text=_text(kept, held.total),
        provider_id=min(kept, key=lambda one: int(one["number"]))["id"],
    )


def _text(kept: JsonList, total: int) -> str:
    """Neighbours of one coding are read together, for a character may begin in one and end in the other."""
    by_number = {one["number"]: one for one in kept}
    text = ""
    for coding, run in groupby(range(1, total + 1), lambda number: by_number.get(number, {}).get("coding")):
        octets = b"".join(bytes.fromhex(by_number[number]["content"]) for number in run if number in by_number)
        text += GAP if coding is None else read(octets, SmsCoding(coding))
    return text
