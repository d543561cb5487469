"""The audit log: written by every use case that changes something on purpose, read by those who may."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from channels.exchange import MASK
from models import audit
from models.audit import AuditEntry, Filter, NewEntry
from models.connectors import Connector
from models.webhooks import WebhookSubscription
from resolvers.call import Call, digest
from resolvers.pages import Page, PageArguments, cut

READ = "audit:read"
ADDRESS: ContextVar[str | None] = ContextVar("address", default=None)  # whose request is being answered, as the socket tells


@dataclass(frozen=True, slots=True)
class Masked:
    """A secret in a snapshot: another fingerprint is a change, and neither is shown."""

    fingerprint: str
    mask: str = MASK


def record(
    call: Call,
    session: AsyncSession,
    action: str,
    target_id: str | None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    workspace_id: str | None = None,
) -> None:
    """Note, in the transaction of a change, that the caller made it. `before` and `after` are what it concerns by field, as the
    API shows it; of fields that are equal in both nothing is kept. Another workspace is named where an administrator acts."""
    entry = NewEntry(
        workspace_id=workspace_id or call.workspace_id,
        actor=call.viewer.subject,
        action=action,
        target_id=target_id,
        changes=differences(before or {}, after or {}),
        ip=ADDRESS.get(),
    )
    audit.record(session, entry)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """By field, what it was and what it became; None stands for nothing."""
    changes = {}
    for name in [*before, *(name for name in after if name not in before)]:
        was, became = before.get(name), after.get(name)
        if was != became:
            changes[name] = {"from": _shown(was), "to": _shown(became)}
    return changes


def _shown(value: Any) -> Any:
    return value.mask if isinstance(value, Masked) else value


def of_connector(connector: Connector, throttle: float | None = None) -> dict[str, Any]:
    """A connector as the log knows it, to be taken before it changes and after."""
    secrets = {name: Masked(kept["fingerprint"]) for name, kept in connector.secrets.items()}
    config = {f"config.{name}": value for name, value in {**connector.config, **secrets}.items()}
    return {
        "name": connector.name,
        "description": connector.description,
        "channelType": connector.channel_type,
        "templateRef": connector.template_ref,
        "priority": connector.priority,
        "enabled": connector.enabled,
        "conversational": connector.conversational,
        "throttlePerSecond": throttle,
        **config,
    }


def of_webhook(subscription: WebhookSubscription) -> dict[str, Any]:
    """A webhook subscription as the log knows it; what follows the ? of its URL may be a secret of the receiver."""
    place, _, query = subscription.url.partition("?")
    return {
        "service": subscription.service,
        "event": subscription.event,
        "eventFilters": subscription.event_filters,
        "url": place,
        "url.query": Masked(digest(query)) if query else None,
        "naming": subscription.naming,
        "status": subscription.status,
        "signingKey": Masked(subscription.signing_keys[0]["id"]),
    }


async def page(call: Call, arguments: PageArguments, where: Filter) -> Page[AuditEntry]:
    """Newest first."""
    call.require(READ)
    scope = f"audit|{call.workspace_id}|{digest(asdict(where))}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await audit.page(session, call.workspace_id, where, window)

    async def total() -> int:
        async with call.read() as session:
            return await audit.count(session, call.workspace_id, where)

    return cut(found, window, arguments, lambda entry: call.means.cursors.seal(scope, (entry.seq,)), total)
