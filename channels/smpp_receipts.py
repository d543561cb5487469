"""The receipts an SMSC delivers, as text or as tagged parameters (SMPP 3.4, appendix B).

Each part of a text has a receipt of its own. While this process remembers what it sent, the message arrived when all its parts
have, and an id is found however the SMSC spells it; after a restart the receipt of the first part stands for the message.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from channels.base import DeliveryStatus, Report
from channels.choices import Choice
from channels.errors import FailureKind, SendError
from channels.smpp_codes import RECEIPTS, STATES
from channels.smpp_inbound import text_of
from channels.smpp_pdu import DeliverSm, Tag
from channels.smpp_submission import SmppAlphabet

REMEMBERED = 100_000
LONGEST_ID = 255

_TYPE = 0x3C
_RECEIPTS = (0x04, 0x20)  # a receipt, an intermediate notification
_TEXT = re.compile(r"\btext:", re.IGNORECASE)
_FIELD = re.compile(r"\b(id|sub|dlvrd|submit date|done date|stat|err):(\S{0,255})", re.IGNORECASE)
_WORDS = {"DELIVERED": "DELIVRD", "UNDELIVERABLE": "UNDELIV", "REJECTED": "REJECTD", "ACCEPTED": "ACCEPTD", "FAILED": "UNDELIV"}


class SmppReceiptIds(Choice):
    """How receipts spell the id that the answer to the message gave."""

    SAME = "SAME", "As the answer did."
    HEX = "HEX", "In hexadecimal, where the answer was decimal."
    DECIMAL = "DECIMAL", "In decimal, where the answer was hexadecimal."


@dataclass(frozen=True, slots=True)
class Receipt:
    """`stat` is the word of appendix B; `fields` are the others a receipt's text has, in lower case."""

    message_id: str
    stat: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def err(self) -> str | None:
        return self.fields.get("err")


@dataclass(slots=True)
class Sent:
    """A message under way: our id, its parts by the SMSC's ids and what is known of each."""

    message_id: str
    parts: int
    states: dict[str, DeliveryStatus | None] = field(default_factory=dict)

    @property
    def provider_id(self) -> str:
        return next(iter(self.states))

    @property
    def arrived(self) -> bool:
        return len(self.states) == self.parts and set(self.states.values()) == {DeliveryStatus.DELIVERED}


class Memory:
    """What was sent lately, by the SMSC's ids."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, tuple[str, Sent]] = OrderedDict()

    def add(self, sent: Sent, part_id: str) -> None:
        sent.states[part_id] = None
        self._sent[_key(part_id)] = part_id, sent
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)

    def forget(self, sent: Sent) -> None:
        for part_id in sent.states:
            self._sent.pop(_key(part_id), None)

    def find(self, receipt_id: str) -> tuple[str, Sent] | None:
        """The part's id as the answer spelled it, and its message."""
        return next((self._sent[name] for name in readings(receipt_id) if name in self._sent), None)


def is_receipt(pdu: DeliverSm) -> bool:
    return (pdu.esm_class & _TYPE) in _RECEIPTS or Tag.RECEIPTED_MESSAGE_ID in pdu.tlvs


def read(pdu: DeliverSm) -> Receipt | None:
    """The receipt in a deliver_sm; tagged parameters win over the text. None where it does not say of what, or what."""
    text = _TEXT.split(text_of(pdu, SmppAlphabet.LATIN1), maxsplit=1)[0]
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(text):
        fields.setdefault(name.lower(), value)
    tagged = pdu.tlvs.get(Tag.RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("latin-1")
    state = int.from_bytes(pdu.tlvs.get(Tag.MESSAGE_STATE, b""), "big")
    stat = STATES.get(state) or fields.get("stat", "").upper()
    message_id = (tagged or fields.get("id", ""))[:LONGEST_ID]
    if not message_id or not stat:
        return None
    return Receipt(message_id, _WORDS.get(stat, stat), fields)


def report(receipt: Receipt, memory: Memory, ids: SmppReceiptIds) -> Report | None:
    """What a receipt means for its message; None for nothing, or nothing yet."""
    status = RECEIPTS.get(receipt.stat)
    if status is None:
        return None
    found = memory.find(receipt.message_id)
    if found is None:
        return _report(receipt, status, respelled(receipt.message_id, ids), None)
    part_id, sent = found
    sent.states[part_id] = status
    if status is DeliveryStatus.DELIVERED and not sent.arrived:
        return None
    return _report(receipt, status, sent.provider_id, sent.message_id)


def readings(receipt_id: str) -> list[str]:
    """The ids a receipt may mean, likeliest first: the same, that of a decimal answer, that of a hexadecimal one."""
    found = [receipt_id, *(respelled(receipt_id, ids) for ids in (SmppReceiptIds.HEX, SmppReceiptIds.DECIMAL))]
    return list(dict.fromkeys(_key(name) for name in found))


def respelled(receipt_id: str, ids: SmppReceiptIds) -> str:
    """The id as the answer spelled it; unchanged where it is no such number."""
    if ids is SmppReceiptIds.HEX and re.fullmatch(r"[0-9A-Fa-f]{1,32}", receipt_id):
        return str(int(receipt_id, 16))
    if ids is SmppReceiptIds.DECIMAL and re.fullmatch(r"[0-9]{1,32}", receipt_id):
        return f"{int(receipt_id):x}"
    return receipt_id


def _key(part_id: str) -> str:
    return part_id.lower().lstrip("0") or "0"


def _report(receipt: Receipt, status: DeliveryStatus, provider_id: str, message_id: str | None) -> Report:
    return Report(
        event_id=f"{provider_id}:{receipt.stat}",
        provider_id=provider_id,
        status=status,
        occurred_at=dt.datetime.now(dt.UTC),  # the SMSC's own dates are of an unknown time zone
        failure=_failure(receipt) if status is DeliveryStatus.FAILED else None,
        detail=receipt.stat,
        message_id=message_id,
        raw={"id": receipt.message_id, "stat": receipt.stat, **{k: v for k, v in receipt.fields.items() if k != "id"}},
    )


def _failure(receipt: Receipt) -> SendError:
    kind, code = {
        "EXPIRED": (FailureKind.EXPIRED, "EXPIRED"),
        "REJECTD": (FailureKind.CONTENT, "REJECTED"),
    }.get(receipt.stat, (FailureKind.TRANSIENT, "UNDELIVERED"))
    said = f"The SMSC reports the message as {receipt.stat}" + (f" (error {receipt.err})." if receipt.err else ".")
    return SendError(kind, code, said, provider_code=receipt.err)
