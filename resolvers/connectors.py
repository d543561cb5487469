"""Connectors: look at them, plug one in."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeGuard

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Provider
from delivery import checks, lines
from models import connectors as rows
from models import ids, lanes, workspaces
from models.base import now
from models.connectors import ComponentStatus, Connector, Filter, Stage
from models.timeline import channel_changed
from resolvers import audit, configs, invitations
from resolvers.call import Call, digest
from resolvers.configs import ConfigInput
from resolvers.names import connector_name
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, Problems, UserErrorCode, collected

READ, WRITE = "connectors:read", "connectors:write"
LONGEST_DESCRIPTION = 2_000
MOST_PER_SECOND = 10_000.0
LONGEST_KEY = 255


class ConnectorOrderField(StrEnum):
    PRIORITY = "PRIORITY"
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConnector:
    """What it takes to plug one in. `priority` 0 is tried first."""

    name: str
    config: ConfigInput
    description: str | None = None
    priority: int = 0
    enabled: bool = True
    conversational: bool | None = None
    throttle_per_second: float | None = None
    idempotency_key: str | None = None
    invitation_token: str | None = field(default=None, repr=False)

    def content(self, template_ref: str) -> dict[str, Any]:
        """All that was asked of this version of a template, whatever its idempotency key and who invited it."""
        plain = asdict(replace(self, idempotency_key=None, invitation_token=None))
        return {**plain, "config": configs.content(self.config, template_ref)}


async def page(call: Call, arguments: PageArguments, where: Filter, order: str, descending: bool) -> Page[Connector]:
    call.require(READ)
    await call.spend("connectors")
    where = replace(where, query=unicodedata.normalize("NFC", where.query)) if where.query else where
    scope = f"connectors|{call.workspace_id}|{order}|{descending}|{digest([getattr(where, name) for name in where.__slots__])}"
    window = arguments.window(call.means.cursors, scope)
    async with call.read() as session:
        found = await rows.page(session, call.workspace_id, where, order, descending, window)

    def seal(connector: Connector) -> str:
        return call.means.cursors.seal(scope, rows.position(connector, order))

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session, call.workspace_id, where)

    return cut(found, window, arguments, seal, total)


async def everything(call: Call) -> Sequence[Connector]:
    """All connectors of the workspace in sending order."""
    call.require(READ)
    async with call.read() as session:
        return await rows.all_of(session, call.workspace_id)


async def get(call: Call, connector_id: str) -> Connector | None:
    call.require(READ)
    async with call.read() as session:
        return await rows.get(session, call.workspace_id, connector_id)


async def by_channel(call: Call, channel_id: str) -> Connector | None:
    call.require(READ)
    async with call.read() as session:
        return await rows.by_channel(session, call.workspace_id, channel_id)


async def by_name(call: Call, name: str, channel_type: str | None) -> Connector | None:
    """Raises AMBIGUOUS_NAME when two channels have a connector of this name and none is given."""
    call.require(READ)
    async with call.read() as session:
        return await named(session, call, name, channel_type, ["name"])


def inbound_webhook_url(call: Call, connector: Connector) -> str | None:
    """Where its provider calls us. Its key is as good as a password at providers that do not sign, so only who may change the
    connector is shown it."""
    return call.means.providers.callback_url(connector) if call.viewer.has(WRITE) else None


async def create(call: Call, new: NewConnector) -> tuple[Connector, bool]:
    """The connector, and whether an earlier call with the same idempotency key made it. It answers at once, PROVISIONING. What
    was made is answered before anything is checked: templates and invitations may be others by now."""
    call.require(WRITE)
    await call.spend("connectorCreate")
    if _is_key(new.idempotency_key):
        async with call.read() as session:
            if earlier := await _replayed(session, call, new):
                return earlier, True
    provider = _checked(call, new)
    try:
        async with call.write() as session:
            made = await _insert(session, call, new, provider)
    except IntegrityError:
        return await _raced(call, new, provider), True
    call.means.bell.ring(checks.HINT)
    return made, False


def _checked(call: Call, new: NewConnector) -> Provider:
    """The provider a new connector configures. Raises Problems with everything that is wrong with it."""
    settings = {"description": new.description, "priority": new.priority, "throttle_per_second": new.throttle_per_second}
    problems: list[Problem] = []
    built: list[Provider] = []
    with collected(problems):
        connector_name(new.name)
    with collected(problems):
        check_settings(settings)
    with collected(problems):
        _check_key(new.idempotency_key)
    with collected(problems):
        provider = configs.provider_of(new.config)
        invitations.check(provider.about, call.means.invitations, new.invitation_token)
        built.append(configs.build(provider, configs.values_of(new.config, provider), None))
    if problems:
        raise Problems(problems)
    return built[0]


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise Problems for settings out of range; absent ones are not looked at."""
    problems = []
    description, priority, rate = (settings.get(name) for name in ("description", "priority", "throttle_per_second"))
    if description is not None and len(description) > LONGEST_DESCRIPTION:
        problems.append(invalid("description", f"A description has at most {LONGEST_DESCRIPTION} characters."))
    if description is not None and "\0" in description:
        problems.append(invalid("description", "A description must not hold NUL."))
    if priority is not None and priority < 0:
        problems.append(invalid("priority", "priority must be 0 or more; 0 is tried first."))
    if rate is not None and not 0 < rate <= MOST_PER_SECOND:
        problems.append(invalid("throttlePerSecond", f"throttlePerSecond must be above 0 and at most {MOST_PER_SECOND:.0f}."))
    if problems:
        raise Problems(problems)


def _is_key(key: str | None) -> TypeGuard[str]:
    return key is not None and 1 <= len(key) <= LONGEST_KEY and key.isprintable()


def _check_key(key: str | None) -> None:
    if key is not None and not _is_key(key):
        raise invalid("idempotencyKey", f"An idempotency key has 1 to {LONGEST_KEY} printable characters.")


def invalid(name: str, message: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", name])


async def _replayed(session: AsyncSession, call: Call, new: NewConnector) -> Connector | None:
    """What an earlier request with this idempotency key made. Raises IDEMPOTENCY_KEY_REUSED when it differed."""
    if new.idempotency_key is None:
        return None
    earlier = await rows.by_idempotency_key(session, call.workspace_id, new.idempotency_key)
    if earlier is None:
        return None
    versions = configs.versions(earlier.template_ref)  # it may have been taken to another since
    if not any(call.is_repeated(earlier.request_hash, new.content(ref)) for ref in versions):
        message = "This idempotency key was used for another request."
        raise Problem(UserErrorCode.IDEMPOTENCY_KEY_REUSED, message, ["input", "idempotencyKey"])
    return earlier


async def _insert(session: AsyncSession, call: Call, new: NewConnector, provider: Provider) -> Connector:
    at = now()
    connector_id = ids.new_id(ids.CONNECTOR)
    about = provider.about
    connector = Connector(
        id=connector_id,
        workspace_id=call.workspace_id,
        name=connector_name(new.name),
        description=new.description,
        channel_type=about.channel.value,
        provider=about.provider,
        template_ref=about.ref,
        priority=new.priority,
        enabled=new.enabled,
        conversational=new.conversational,
        region=call.means.region,
        routing_key=connector_id.replace("con_", "rk_"),
        config={},
        secrets={},
        revision=1,
        config_revision=1,
        config_updated_at=at,
        is_verified=False,
        channel_id=ids.new_id(ids.CHANNEL),
        identifier=provider.identifier,
        **provisioning(at),
        circuit=rows.CircuitState.CLOSED,
        idempotency_key=new.idempotency_key,
        request_hash=call.signature(new.content(about.ref)) if new.idempotency_key is not None else None,
        created_at=at,
        updated_at=at,
        status_updated_at=at,
    )
    if connector.template_ref in lines.REFS:
        await _share_line(session, call, connector)
    connector.config, connector.secrets = configs.kept(provider, call.means.vault, connector)
    session.add(connector)
    await session.flush()
    await lanes.open(session, call.workspace_id, connector.id, new.throttle_per_second)
    channel_changed(session, connector, "created", None, "created")
    audit.record(call, session, "connectorCreate", connector.id, after=audit.of_connector(connector, new.throttle_per_second))
    return connector


async def _share_line(session: AsyncSession, call: Call, connector: Connector) -> None:
    """Give a connector what its organization's line is now."""
    organization = await workspaces.organization(session, call.viewer.organization_id)
    if organization is not None:
        connector.line = lines.stored(organization)
        connector.identifier = connector.identifier or call.means.providers.platform.identifier(organization)


def provisioning(at: dt.datetime) -> dict[str, Any]:
    """The status of a connector whose checks have not run."""
    return {
        "stage": Stage.PROVISIONING,
        "component_status": ComponentStatus.PENDING,
        "status_error": None,
        "checks": None,
        "checks_run_at": None,
        "check_due_at": at,
    }


async def _raced(call: Call, new: NewConnector, provider: Provider) -> Connector:
    """What an equal request made meanwhile. Raises Problem when it was another one that has the name or the key.

    Looked up as a writer: what got in our way may not be committed yet, and readers cannot see it.
    """
    async with call.write() as session:
        if earlier := await _replayed(session, call, new):
            return earlier
        taken = await rows.by_name(session, call.workspace_id, connector_name(new.name), provider.about.channel.value)
    if taken:
        raise name_taken(taken[0])
    message = "The name or the idempotency key was in use until now; repeat the request."
    raise Problem(UserErrorCode.IDEMPOTENCY_IN_PROGRESS, message, ["input", "name"])


def name_taken(other: Connector) -> Problem:
    message = f"The workspace has another {other.channel_type} connector of this name."
    return Problem(UserErrorCode.CONNECTOR_ALREADY_EXISTS, message, ["input", "name"], conflictingId=other.id)


async def named(
    session: AsyncSession, call: Call, name: str, channel_type: str | None, path: Sequence[str]
) -> Connector | None:
    found = await rows.by_name(session, call.workspace_id, connector_name(name, path), channel_type)
    if len(found) > 1:
        channels = ", ".join(sorted(connector.channel_type for connector in found))
        message = f"Several connectors have this name; say which channel: {channels}."
        raise Problem(UserErrorCode.AMBIGUOUS_NAME, message, path)
    return found[0] if found else None


async def found(session: AsyncSession, call: Call, connector_id: str) -> Connector:
    """Raises CONNECTOR_NOT_FOUND, blaming `id`."""
    connector = await rows.get(session, call.workspace_id, connector_id)
    if connector is None:
        raise missing(["input", "id"])
    return connector


def missing(path: Sequence[str]) -> Problem:
    return Problem(UserErrorCode.CONNECTOR_NOT_FOUND, "There is no such connector.", path)
