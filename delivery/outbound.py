"""A stored message as an adapter sees it."""

from __future__ import annotations

from channels import sms_text
from channels.base import ChannelType, Media, Outbound
from models.base import now
from models.connectors import Connector
from models.senders import SenderId
from models.underway import Sendable


def outbound(message: Sendable, attempt: int = 1, unsubscribe_url: str | None = None) -> Outbound:
    """What is handed over; its validity is what is left of it, in seconds."""
    left = (message.expires_at - now()).total_seconds() if message.expires_at else None
    return Outbound(
        id=message.id,
        to=message.to,
        attempt=attempt,
        flow=message.flow,
        sender=message.sender,
        subject=message.subject,
        body=message.body,
        html=message.html,
        template=message.template,
        media=tuple(Media(item["url"], item.get("content_type"), item.get("filename")) for item in message.media),
        metadata=message.details or {},
        validity_seconds=max(1, int(left)) if left is not None else None,
        unsubscribe_url=unsubscribe_url,
    )


def from_of(connector: Connector, sender: SenderId | None) -> str | None:
    """What a message comes from: its sender ID, if that is of the connector's channel, or what the connector is set to."""
    concerned = sender is not None and sender.channel_type == connector.channel_type
    return sender.value if concerned and sender is not None else connector.identifier


def form_of(channel_type: str, body: str | None, has_media: bool) -> tuple[str | None, int | None]:
    """The encoding and the number of parts a text has in a channel: only an SMS has them, and with files it is an MMS."""
    if channel_type != ChannelType.SMS or has_media or not body:
        return None, None
    packed = sms_text.pack(body)
    return packed.encoding.value, len(packed.parts)
