"""Words of the API: the enums of the rooms below, each value described."""

from __future__ import annotations

from enum import EnumMeta
from typing import TypeVar

import strawberry

from channels.base import ChannelType, CheckStatus, ReleaseStatus, TrafficType
from channels.errors import FailureKind
from channels.relays import SmtpSecurity
from channels.sms_text import TextEncoding
from delivery.route import RouteOutcome
from delivery.webhook_events import FilterKey, Naming, Service
from models.connectors import CircuitState, ComponentStatus, Stage
from models.messages import MessageStatus
from models.optouts import OptOutAction
from models.senders import SenderIdKind, SenderIdStatus
from models.timeline import TimelineSource
from models.webhook_deliveries import DeliveryStatus
from models.webhooks import WebhookStatus
from resolvers.connector_changes import UpsertMode
from resolvers.connectors import ConnectorOrderField
from resolvers.messages import MessageFlow, MessagePriority
from resolvers.pages import OrderDirection
from resolvers.problems import UserErrorCode
from resolvers.sender_reviews import ReviewDecision
from resolvers.stats import StatsBucket
from resolvers.viewer import CredentialKind

E = TypeVar("E", bound=EnumMeta)


def _expose(cls: E, name: str, description: str, values: dict[str, str]) -> E:
    """Make `cls` a GraphQL enum. A value without a description is a mistake found at start-up."""
    exposed = strawberry.enum(cls, name=name, description=description)
    for value in exposed.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = values[value.name]
    return exposed


_expose(
    ChannelType,
    "ChannelType",
    "The medium a message travels through. The vendor is the connector's `provider`.",
    {
        "EMAIL": "E-mail; recipients are addresses.",
        "SMS": "Text messages; recipients are E.164 numbers.",
        "WHATSAPP": "WhatsApp; recipients are E.164 numbers.",
        "TELEGRAM": "Telegram; recipients are chat ids or @channel names.",
        "DISCORD": "Discord; recipients are channel ids.",
        "SLACK": "Slack; recipients are channel or user ids.",
        "FACEBOOK": "Facebook Messenger; recipients are page-scoped ids.",
        "INSTAGRAM": "Instagram messaging; recipients are Instagram-scoped ids.",
        "LINE": "LINE; recipients are user, group or room ids.",
        "WEBHOOK": "A plain HTTP request to a system of your own.",
        "SIMULATOR": "A scripted provider for trying things out; nothing leaves the machine.",
    },
)
_expose(
    ReleaseStatus,
    "ReleaseStatus",
    "How mature a connector template is.",
    {
        "GA": "Generally available.",
        "BETA": "Works, may still change; may ask for an invitation.",
        "INTERNAL": "By invitation only.",
    },
)
_expose(
    TrafficType,
    "TrafficType",
    "What a sending number is registered to carry.",
    {
        "PROMOTIONAL": "Marketing.",
        "TRANSACTIONAL": "Notices a person expects.",
        "CONVERSATIONAL": "Two-way conversations.",
        "EMERGENCY": "Warnings of danger.",
        "TWO_FACTOR": "One-time passwords; `2fa` in other systems.",
    },
)
_expose(
    SmtpSecurity,
    "SmtpSecurity",
    "How the connection to a mail server is protected.",
    {
        "STARTTLS": "Plain connection upgraded to TLS before anything is said; usual on port 587. Never optional.",
        "TLS": "TLS from the first byte; usual on port 465.",
        "NONE": "No protection; for servers on the same machine or network.",
    },
)
_expose(
    TextEncoding,
    "TextEncoding",
    "How a text is written on its way.",
    {
        "GSM7": "The GSM 7-bit alphabet: 160 septets in an SMS, 153 in each part of several.",
        "UCS2": "UTF-16: 70 units in an SMS, 67 in each part of several; what one character outside the GSM alphabet asks for.",
        "UTF8": "UTF-8, as everywhere but in SMS.",
    },
)
_expose(
    FailureKind,
    "FailureKind",
    "Why a message did not get through.",
    {
        "RECIPIENT": "This address will never work.",
        "CONTENT": "This message will never be taken.",
        "CONFIGURATION": "The connector's settings or credentials are wrong.",
        "TRANSIENT": "The provider could not take it then.",
        "THROTTLED": "The provider asked to slow down.",
        "EXPIRED": "It was not sent within its validity.",
        "CANCELED": "It was taken back before it was sent.",
        "UNKNOWN_OUTCOME": "The provider's answer was lost: it may or may not have been taken.",
        "NO_ROUTE": "No connector could take it.",
    },
)
_expose(
    CheckStatus,
    "CheckStatus",
    "What a check found.",
    {
        "INVALID": "The configuration cannot work.",
        "OK": "As it should be.",
        "WARNING": "Works, with something to look at.",
        "ERROR": "The provider refused.",
        "INDETERMINATE": "Could not be found out.",
    },
)
_expose(
    RouteOutcome,
    "RouteOutcome",
    "What the router decided about a connector.",
    {
        "CHOSEN": "The message goes through it.",
        "FALLBACK": "Usable, behind the chosen one.",
        "NOT_VERIFIED": "Its last check or test did not succeed.",
        "DISABLED": "It is switched off.",
        "CIRCUIT_OPEN": "It failed too often of late.",
        "THROTTLED": "Its provider asked for a pause.",
        "UNSUPPORTED_CONTENT": "It cannot carry this content.",
        "SENDER_NOT_APPROVED": "The sender may not be used with it.",
        "OPTED_OUT": "The recipient does not want messages.",
        "ALREADY_TRIED": "It was tried for this message before.",
    },
)
_expose(
    CircuitState,
    "CircuitState",
    "Whether a connector is given traffic.",
    {"CLOSED": "It is.", "HALF_OPEN": "A single message tries it.", "OPEN": "It is not: it failed too often."},
)
_expose(
    ComponentStatus,
    "ComponentStatus",
    "How a part of a connector is.",
    {
        "OK": "It works.",
        "PENDING": "It is being checked.",
        "ERROR": "It does not work.",
        "UNKNOWN": "It could not be found out.",
    },
)
_expose(
    Stage,
    "ComponentStage",
    "Where a channel stands in its life.",
    {
        "ACTIVE": "Ready to send.",
        "INACTIVE": "Set up, but not able to send.",
        "PROVISIONING": "Being set up.",
        "DEPROVISIONING": "Being taken down.",
        "DEPROVISIONED": "Gone.",
    },
)
_expose(
    MessageStatus,
    "MessageStatus",
    "Where a message stands. Receipts only move it forward.",
    {
        "SCHEDULED": "Accepted, to be sent later.",
        "QUEUED": "Accepted, waiting to be sent.",
        "PROCESSING": "Being handed to the provider.",
        "SENT": "The provider took it.",
        "DELIVERED": "It reached the recipient.",
        "READ": "The recipient opened it.",
        "FAILED": "It will not be delivered.",
        "EXPIRED": "It was not sent within its validity.",
        "CANCELED": "It was taken back before it was sent.",
        "UNKNOWN": "The provider's answer was lost; it is not sent again on its own.",
    },
)
_expose(
    MessageFlow,
    "MessageFlow",
    "What kind of traffic a message is.",
    {"OTP": "A one-time password: urgent, and worthless when late.", "STANDARD": "Everything else."},
)
_expose(
    MessagePriority,
    "MessagePriority",
    "Which messages go first.",
    {"HIGH": "Before the others.", "NORMAL": "As they come.", "BULK": "When nothing else waits."},
)
_expose(
    TimelineSource,
    "TimelineSource",
    "Who made a message change.",
    {
        "API": "A client of this API.",
        "DISPATCHER": "The worker that sends.",
        "PROVIDER_RESPONSE": "The provider, in its answer to the send.",
        "PROVIDER_CALLBACK": "The provider, in a later receipt.",
        "OPERATOR": "A person running the gateway.",
    },
)
_expose(
    ConnectorOrderField,
    "ConnectorOrderField",
    "What connectors are ordered by.",
    {"PRIORITY": "Sending order: priority, then age.", "CREATED_AT": "Age.", "NAME": "Name."},
)
_expose(OrderDirection, "OrderDirection", "Which way a list runs.", {"ASC": "Smallest first.", "DESC": "Largest first."})
_expose(
    UpsertMode,
    "UpsertMode",
    "What becomes of stored configuration that an upsert does not mention.",
    {"REPLACE": "It is dropped.", "MERGE": "It stays."},
)
_expose(
    CredentialKind,
    "CredentialKind",
    "How the caller proved who they are.",
    {"SESSION": "A signed token of a session.", "API_KEY": "A key made for a program."},
)
_expose(
    SenderIdStatus,
    "SenderIdStatus",
    "Where a sender ID stands.",
    {
        "PENDING": "Asked for; waiting for a reviewer.",
        "APPROVED": "It may be sent under.",
        "REJECTED": "Refused; a change asks again.",
        "REVOKED": "Given up or taken away, for good.",
    },
)
_expose(
    SenderIdKind,
    "SenderIdKind",
    "What kind of sender a sender ID is.",
    {
        "ALPHANUMERIC": "A name. People cannot answer it, so it cannot take a STOP.",
        "PHONE_NUMBER": "A telephone number in E.164.",
        "SHORT_CODE": "A number of 3 to 8 digits, leased from operators.",
    },
)
_expose(
    OptOutAction,
    "OptOutAction",
    "What happened to an opt-out.",
    {"ADDED": "Somebody opted out.", "REMOVED": "Somebody opted in again."},
)
_expose(
    ReviewDecision,
    "ReviewDecision",
    "What a reviewer decides about a sender ID.",
    {"APPROVE": "It may be sent under.", "REJECT": "It may not; the note says why."},
)
_expose(StatsBucket, "StatsBucket", "How finely time is divided.", {"HOUR": "By the hour.", "DAY": "By the day, in UTC."})
_expose(
    UserErrorCode,
    "UserErrorCode",
    "What is wrong, in a word a program can match.",
    {
        "VALIDATION_ERROR": "A value is missing, malformed or out of range; `field` says which.",
        "MISSING_CONNECTOR_NAME": "A connector needs a name.",
        "RESERVED_CONNECTOR_NAME": "The name or key is reserved: __proto__, constructor or prototype.",
        "MISSING_CONNECTOR_CONFIG": "A connector needs a configuration object.",
        "INVALID_CONNECTOR_DATA": "Well-formed settings that do not work together.",
        "INVALID_DESTINATION": "The recipient cannot be an address of this channel; nothing was sent.",
        "INVALID_EVENT_FILTER": "The filter does not fit the event.",
        "INVALID_WEBHOOK_URL": "The URL cannot be called.",
        "INVITATION_REQUIRED": "The template is not generally available; an invitation token is needed.",
        "CONNECTOR_NOT_FOUND": "There is no such connector in the workspace.",
        "MESSAGE_NOT_FOUND": "There is no such message in the workspace.",
        "SENDER_ID_NOT_FOUND": "There is no such sender ID in the workspace.",
        "WEBHOOK_NOT_FOUND": "There is no such webhook in the workspace.",
        "API_KEY_NOT_FOUND": "There is no such key in the workspace.",
        "WORKSPACE_NOT_FOUND": "There is no such workspace.",
        "OPT_OUT_NOT_FOUND": "The recipient has not opted out of the channel.",
        "SENDER_ID_ALREADY_EXISTS": "The workspace has this sender ID, or has asked for it.",
        "CONNECTOR_ALREADY_EXISTS": "The channel has a connector of this name.",
        "AMBIGUOUS_NAME": "Connectors of several channels have this name; say which channel.",
        "LAST_CONNECTOR_WHILE_WILL_ACTIVE": "A workspace with an active will keeps at least one connector.",
        "CONNECTOR_STILL_REFERENCED": "Something still needs the connector.",
        "REVISION_CONFLICT": "It was changed meanwhile; read it again.",
        "WHATSAPP_PHONE_NUMBER_ID_IN_USE": "The phone number id belongs to another organization.",
        "ALREADY_REVIEWED": "It was reviewed before.",
        "CHANNEL_DISABLED": "The channel is switched off.",
        "INVALID_STATE": "Not possible in its present state.",
        "SENDER_ID_REQUIRED": "An SMS needs an approved sender ID.",
        "SENDER_ID_NOT_APPROVED": "The sender ID does not exist, is not approved, or is of another channel.",
        "RECIPIENT_OPTED_OUT": "The recipient does not want messages.",
        "NO_ROUTE_AVAILABLE": "No connector can take the message; the message says why.",
        "IDEMPOTENCY_KEY_REUSED": "The key was used for another request.",
        "IDEMPOTENCY_IN_PROGRESS": "A request with this key is being answered.",
        "CONNECTOR_DELIVERY_FAILED": "The provider did not take the message.",
    },
)
_expose(
    Service,
    "WebhookService",
    "The part of the platform a webhook hears of. Of NUMBERS, PAYMENTS, CONVERSATIONS and TEMPLATES there are no events yet: a "
    "subscription to them is kept and hears nothing.",
    {
        "CHANNELS": "Channels made, changed and deleted; and all that goes out or comes in through a channel.",
        "NUMBERS": "Telephone numbers. There are no events yet.",
        "PAYMENTS": "Payments. There are no events yet.",
        "CONVERSATIONS": "Conversations. There are no events yet.",
        "TEMPLATES": "Templates. There are no events yet.",
        "MESSAGES": "What happens to messages, each kind of event by its own name.",
        "SENDER_IDS": "Requests for sender IDs, and what became of them.",
        "OPT_OUTS": "Recipients who opted out or in again.",
    },
)
_expose(
    FilterKey,
    "WebhookFilterKey",
    "What of an event a webhook's filter looks at.",
    {
        "CHANNEL_ID": "The channel it went through or is about.",
        "PLATFORM_ID": "The provider, such as `twilio`, or its template, such as `sms-twilio` or `sms-twilio:1`.",
        "CHANNEL_STATUS": "The stage of a channel, such as ACTIVE.",
        "INTERACTION_TYPE": "What happened to a message: the last part of its event's name, such as READ.",
        "MESSAGE_STATUS": "The status of a message.",
        "STATUS": "The status of whatever it is about.",
        "EVENT_DESTINATION": "Taken for NUMBERS and PAYMENTS alone.",
        "NAVIGATOR_ID": "Taken for NUMBERS and PAYMENTS alone.",
    },
)
_expose(
    Naming,
    "EventNaming",
    "How names of events are written in the bodies of webhooks.",
    {"DOTTED": "`sms.delivered`.", "UNDERSCORE": "`sms_delivered`."},
)
_expose(
    WebhookStatus,
    "WebhookSubscriptionStatus",
    "Whether a webhook is told of what happens.",
    {"ACTIVE": "It is.", "INACTIVE": "It is not: its owner, its receiver (410) or days of failures switched it off."},
)
_expose(
    DeliveryStatus,
    "WebhookDeliveryStatus",
    "Where a delivery stands.",
    {
        "PENDING": "It was not tried yet.",
        "RETRYING": "It failed, and is tried again.",
        "DELIVERED": "The receiver answered with a 2xx.",
        "DEAD": "It was given up; `webhookReplay` begins anew.",
    },
)
