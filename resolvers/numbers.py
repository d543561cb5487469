"""What the messages of a connector come from: a telephone number, a short code or a name."""

from __future__ import annotations

from channels import BY_REF
from channels.phone import Endpoint, EndpointType, endpoint
from models.connectors import Connector

_CAN = ("text", "media", "templates", "inbound", "delivery_receipts", "read_receipts")


def sender_of(connector: Connector) -> Endpoint | None:
    """Taken from the configuration, or as the provider told it at the last checks; None where neither knows it."""
    provider = BY_REF.get(connector.template_ref)
    configured = connector.config.get(provider.about.sender) if provider and provider.about.sender else None
    sender = configured or _told(connector)
    return endpoint(sender) if sender else None


def _told(connector: Connector) -> str | None:
    assertions = (assertion for check in connector.checks or () for assertion in check["assertions"])
    return next((assertion["number"] for assertion in assertions if "number" in assertion), None)


def capabilities(connector: Connector, sender: Endpoint) -> list[str]:
    """What can be sent from it, and what comes back to it: nobody can answer a name."""
    can = BY_REF[connector.template_ref].about.capabilities
    named = [name.upper() for name in _CAN if getattr(can, name)]
    return [name for name in named if name != "INBOUND" or sender.endpoint_type is not EndpointType.ALPHA_NUMBER]
