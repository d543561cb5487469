"""What a subscriber wants to hear of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.events import CHANNEL, MESSAGE, WEBHOOK, Event
from resolvers.call import Call
from resolvers.messages import read_scope, readable_channels
from resolvers.problems import Problem, RequestErrorCode


class Wanted(Protocol):
    """A choice among events: what is told as it happens, and what may be shown as the state of a named object."""

    def matches(self, event: Event) -> bool: ...

    def shows(self, event: Event) -> bool: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """Everything of one noun."""

    kind: str

    def matches(self, event: Event) -> bool:
        return event.kind == self.kind

    def shows(self, event: Event) -> bool:
        return self.matches(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Status changes of connectors; an empty field does not restrict."""

    connector_ids: Collection[str] | None = None
    channels: Collection[str] | None = None

    def matches(self, event: Event) -> bool:
        return self.shows(event)

    def shows(self, event: Event) -> bool:
        return (
            event.kind == CHANNEL
            and (self.connector_ids is None or event.subject_id in self.connector_ids)
            and (self.channels is None or event.channel_type in self.channels)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """Messages that moved, of the channels the viewer may read; an empty field does not restrict."""

    readable: Collection[str]
    message_ids: Collection[str] | None = None
    connector_ids: Collection[str] | None = None
    batch_id: str | None = None
    flow: str | None = None
    statuses: Collection[str] | None = None

    def matches(self, event: Event) -> bool:
        told = event.payload
        moved = told.get("status") != told.get("previousStatus")
        return self.shows(event) and moved and (self.statuses is None or told["status"] in self.statuses)

    def shows(self, event: Event) -> bool:
        told = event.payload
        return (
            event.kind == MESSAGE
            and event.channel_type in self.readable
            and (self.message_ids is None or event.subject_id in self.message_ids)
            and (self.connector_ids is None or event.connector_id in self.connector_ids)
            and (self.batch_id is None or told["batchId"] == self.batch_id)
            and (self.flow is None or told["flow"] == self.flow)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Deliveries to customers' webhooks; an empty field does not restrict."""

    subscription_id: str | None = None

    def matches(self, event: Event) -> bool:
        return self.shows(event)

    def shows(self, event: Event) -> bool:
        mine = self.subscription_id in (None, event.payload.get("subscription_id"))
        return event.kind == WEBHOOK and mine


def readable(call: Call, asked: Sequence[str] | None) -> Sequence[str]:
    """The channels whose messages a viewer asks for and may read. Raises FORBIDDEN, naming the scope."""
    for channel in asked or ():
        call.require(read_scope(channel))
    allowed = readable_channels(call)
    if not allowed:
        message = "This needs a scope to read messages, such as read:*."
        raise Problem(RequestErrorCode.FORBIDDEN, message, requiredScope="read:*")
    return list(asked) if asked is not None else allowed
