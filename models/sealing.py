"""What each kind of sealed secret is bound to: copied to another row or field, it does not open."""

from __future__ import annotations

Context = tuple[str, str, str, str]


def of_connector(workspace_id: str, connector_id: str, field: str) -> Context:
    """A secret setting of a connector."""
    return workspace_id, "connector", connector_id, field


def of_line(organization_id: str) -> Context:
    """The token of an organization's WhatsApp line, also where a connector carries a copy of it."""
    return organization_id, "organization", organization_id, "whatsapp_access_token"


def of_webhook(workspace_id: str, subscription_id: str, key_id: str) -> Context:
    """A signing key of a customer's webhook."""
    return workspace_id, "webhook_subscription", subscription_id, key_id
