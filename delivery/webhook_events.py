"""What customers' webhooks can be told of: one line of a table for each type of event, and what may be asked of them.

A new event is a line of `EVENT_TYPES`; a new noun also says in `delivery/webhook_payloads.py` how its events are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from channels import PROVIDERS
from models import ids
from models.connectors import ComponentStatus, Connector, Stage
from models.events import CHANNEL, INBOUND, MESSAGE, OPT_OUT, SENDER, Event
from models.messages import MessageStatus

CONNECTORS_READ = "connectors:read"


class Service(StrEnum):
    """The part of the platform an event belongs to."""

    CHANNELS = "CHANNELS"
    NUMBERS = "NUMBERS"
    PAYMENTS = "PAYMENTS"
    CONVERSATIONS = "CONVERSATIONS"
    TEMPLATES = "TEMPLATES"
    MESSAGES = "MESSAGES"
    SENDER_IDS = "SENDER_IDS"
    OPT_OUTS = "OPT_OUTS"


class FilterKey(StrEnum):
    CHANNEL_ID = "CHANNEL_ID"
    PLATFORM_ID = "PLATFORM_ID"
    CHANNEL_STATUS = "CHANNEL_STATUS"
    INTERACTION_TYPE = "INTERACTION_TYPE"
    MESSAGE_STATUS = "MESSAGE_STATUS"
    STATUS = "STATUS"
    EVENT_DESTINATION = "EVENT_DESTINATION"
    NAVIGATOR_ID = "NAVIGATOR_ID"


class Naming(StrEnum):
    DOTTED = "DOTTED"
    UNDERSCORE = "UNDERSCORE"


@dataclass(frozen=True, slots=True)
class EventType:
    """`scope` is what it takes to see such an event. With `is_group`, the name stands for every event of its noun."""

    name: str
    service: Service
    kind: str
    scope: str
    description: str
    is_group: bool = False

    @property
    def alias(self) -> str:
        return underscored(self.name)

    def covers(self, kind: str, name: str) -> bool:
        """Whether events of this kind and name are of this type."""
        if self.is_group:
            return kind == self.kind and name.startswith(self.name.partition(".")[0] + ".")
        return name == self.name


CHANNEL_EVENTS = {
    "created": "A channel was made: its identifier where it is known, its id and its connector's.",
    "updated": "A channel came up, went down or changed, with every change of its status.",
    "deleted": "A channel was deleted.",
}
MESSAGE_EVENTS = {
    "scheduled": "It was accepted to be sent later.",
    "queued": "It was accepted, or goes back to wait for its next attempt.",
    "processing": "An attempt began.",
    "unknown": "The provider's answer was lost: it may or may not have been taken.",
    "sent": "The provider took it.",
    "failed": "It did not get through, and is not tried again.",
    "delivered": "It reached the recipient.",
    "read": "The recipient opened it.",
    "canceled": "It was taken back before it was sent.",
    "expired": "It was not sent within its validity.",
    "updated": "It was changed before it was sent.",
    "resent": "It was sent again, as another message.",
    "redacted": "Its recipient and content were deleted.",
    "receipt": "A receipt came that changes nothing: late, repeated or out of order.",
}
SENDER_EVENTS = {
    "created": "A sender ID was asked for.",
    "updated": "A request was changed, and waits for its review.",
    "approved": "It may be sent under.",
    "rejected": "It may not be sent under; the note says why.",
    "revoked": "It was given up, or taken away.",
}
_CHANNELS = sorted({provider.about.channel.value.lower() for provider in PROVIDERS})


def _of_channels() -> list[EventType]:
    made = [
        EventType(f"channel.{verb}", Service.CHANNELS, CHANNEL, CONNECTORS_READ, text) for verb, text in CHANNEL_EVENTS.items()
    ]
    for noun in _CHANNELS:
        about = f"Everything that happens to a {noun} message that goes out; `type` says what, such as `{noun}.sent`."
        made.append(EventType(f"{noun}.outbound", Service.CHANNELS, MESSAGE, f"read:{noun}", about, is_group=True))
        made.append(_inbound(noun, Service.CHANNELS))
    return made


def _of_messages() -> list[EventType]:
    made = []
    for noun in _CHANNELS:
        scope = f"read:{noun}"
        made += [EventType(f"{noun}.{verb}", Service.MESSAGES, MESSAGE, scope, text) for verb, text in MESSAGE_EVENTS.items()]
        made.append(_inbound(noun, Service.MESSAGES))
    return made


def _inbound(noun: str, service: Service) -> EventType:
    return EventType(f"{noun}.inbound", service, INBOUND, f"read:{noun}", "Somebody wrote to us.")


def _of_senders() -> list[EventType]:
    service, scope = Service.SENDER_IDS, "sender-ids:read"
    return [EventType(f"sender.{verb}", service, SENDER, scope, text) for verb, text in SENDER_EVENTS.items()]


def _of_opt_outs() -> list[EventType]:
    text = "Somebody opted out of the channel, or in again; `action` says which."
    return [EventType(f"{noun}.opt_out", Service.OPT_OUTS, OPT_OUT, "opt-outs:read", text) for noun in _CHANNELS]


EVENT_TYPES: tuple[EventType, ...] = (*_of_channels(), *_of_messages(), *_of_senders(), *_of_opt_outs())
EVENTLESS = (Service.NUMBERS, Service.PAYMENTS, Service.CONVERSATIONS, Service.TEMPLATES)
"""Services of the contract that have no events here: subscriptions to them are kept, and hear nothing."""

_NOUN_OF_ALL = "message."  # `message.sent` is the sending of a message through any channel


def underscored(name: str) -> str:
    """`sms.sent` as `sms_sent`."""
    return name.replace(".", "_")


def named(name: str, naming: str) -> str:
    """An event's name as a subscription wants it written."""
    return underscored(name) if naming == Naming.UNDERSCORE else name


@lru_cache(maxsize=1024)
def select(service: str, text: str) -> frozenset[EventType]:
    """The types a subscription's `event` means: a name, its alias, or one that ends with `*`. Empty for no such event."""
    text = text.strip().lower()
    mine = [known for known in EVENT_TYPES if known.service == service]
    exact = [known for known in mine if text in (known.name, known.alias)]
    if exact:
        return frozenset(exact)
    if text.endswith("*"):
        return frozenset(known for known in mine if any(spelt.startswith(text[:-1]) for spelt in _spellings(known)))
    return frozenset(known for known in mine if text in _spellings(known))


@lru_cache(maxsize=1024)
def types_of(kind: str, name: str) -> frozenset[EventType]:
    """The types an event of the log belongs to."""
    return frozenset(known for known in EVENT_TYPES if known.covers(kind, name))


def _spellings(known: EventType) -> tuple[str, ...]:
    spelt = known.name if known.kind not in (MESSAGE, INBOUND) else _NOUN_OF_ALL + known.name.partition(".")[2]
    return known.name, known.alias, spelt, underscored(spelt)


Facts = Mapping[FilterKey, frozenset[str]]


def facts(event: Event, connector: Connector | None) -> Facts:
    """What filters may ask of an event, in lower case; what an event does not have, no filter finds."""
    told = event.payload
    status = told.get("status") or told.get("action")
    found: dict[FilterKey, list[str | None]] = {}
    if event.kind == CHANNEL and isinstance(status, dict):
        found[FilterKey.CHANNEL_STATUS] = [status["stage"]]
        found[FilterKey.STATUS] = [status["stage"], status["component_status"]]
    elif isinstance(status, str):
        found[FilterKey.STATUS] = [status]
    if event.kind == MESSAGE:
        found[FilterKey.MESSAGE_STATUS] = [told["status"]]
    if event.kind in (MESSAGE, INBOUND):
        found[FilterKey.INTERACTION_TYPE] = [event.type.partition(".")[2]]
    if connector is not None:
        ref = connector.template_ref
        found[FilterKey.CHANNEL_ID] = [connector.channel_id]
        found[FilterKey.PLATFORM_ID] = [connector.provider, ref, ref.partition(":")[0]]
    return {key: frozenset(value.lower() for value in values if value) for key, values in found.items()}


def passes(filters: Sequence[Mapping[str, Any]], known: Facts) -> bool:
    """Every key that is asked for has one of the values asked for."""
    wanted: dict[str, set[str]] = {}
    for each in filters:
        wanted.setdefault(each["key"], set()).add(each["value"].lower())
    return all(values & known.get(FilterKey(key), frozenset()) for key, values in wanted.items())


_STAGES = frozenset(stage.value for stage in Stage)
_STATUSES = frozenset(status.value for status in MessageStatus)
_COMPONENTS = frozenset(status.value for status in ComponentStatus)
_INTERACTIONS = frozenset(verb.upper() for verb in (*MESSAGE_EVENTS, "inbound"))
_ANYTHING: frozenset[str] = frozenset()
_A_CHANNEL = "a channel's id, such as chn_0192…"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a filter's value may be: `words`, any text where there are none, or what `check` takes."""

    words: frozenset[str] = _ANYTHING
    check: Callable[[str], bool] = lambda _value: True
    wanted: str = "a text"

    def refusal(self, value: str) -> str | None:
        if self.words and value.upper() not in self.words:
            return f"must be one of {', '.join(sorted(self.words))}"
        return None if self.check(value) else f"must be {self.wanted}"


_FREE = Rule()
_BY_CHANNEL = Rule(check=lambda value: ids.prefix_of(value) == ids.CHANNEL, wanted=_A_CHANNEL)
FILTERS: Mapping[Service, Mapping[FilterKey, Rule]] = {
    Service.CHANNELS: {
        FilterKey.CHANNEL_ID: _BY_CHANNEL,
        FilterKey.PLATFORM_ID: _FREE,
        FilterKey.CHANNEL_STATUS: Rule(_STAGES),
        FilterKey.INTERACTION_TYPE: Rule(_INTERACTIONS),
        FilterKey.MESSAGE_STATUS: Rule(_STATUSES),
        FilterKey.STATUS: Rule(_STAGES | _COMPONENTS | _STATUSES),
    },
    Service.MESSAGES: {
        FilterKey.CHANNEL_ID: _BY_CHANNEL,
        FilterKey.PLATFORM_ID: _FREE,
        FilterKey.INTERACTION_TYPE: Rule(_INTERACTIONS),
        FilterKey.MESSAGE_STATUS: Rule(_STATUSES),
        FilterKey.STATUS: Rule(_STATUSES),
    },
    Service.CONVERSATIONS: {FilterKey.CHANNEL_ID: _BY_CHANNEL},
    Service.TEMPLATES: {FilterKey.PLATFORM_ID: _FREE},
    Service.NUMBERS: dict.fromkeys(FilterKey, _FREE),
    Service.PAYMENTS: dict.fromkeys(FilterKey, _FREE),
    Service.SENDER_IDS: {FilterKey.STATUS: Rule(frozenset({"PENDING", "APPROVED", "REJECTED", "REVOKED"}))},
    Service.OPT_OUTS: {FilterKey.STATUS: Rule(frozenset({"ADDED", "REMOVED"}))},
}
"""Which keys a service's events have, and what their values may be."""
