"""Connectors: plug in, look at, change, unplug."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from channels.base import Provider
from delivery import checks
from models import connectors as rows
from models import ids, queue
from models.base import now
from models.connectors import ComponentStatus, Connector, Filter, Stage
from models.timeline import channel_changed
from resolvers import configs
from resolvers.call import Call, digest
from resolvers.configs import ConfigInput
from resolvers.names import connector_name
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, Problems, UserErrorCode

READ, WRITE = "connectors:read", "connectors:write"
LONGEST_DESCRIPTION = 2_000
MOST_PER_SECOND = 10_000.0


class ConnectorOrderField(StrEnum):
    PRIORITY = "PRIORITY"
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"


class UpsertMode(StrEnum):
    REPLACE = "REPLACE"
    MERGE = "MERGE"


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


async def page(call: Call, arguments: PageArguments, where: Filter, order: str, descending: bool) -> Page[Connector]:
    call.require(READ)
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


async def by_name(call: Call, name: str, channel_type: str | None) -> Connector | None:
    """Raises AMBIGUOUS_NAME when two channels have a connector of this name and none is given."""
    call.require(READ)
    async with call.read() as session:
        return await named(session, call, name, channel_type, ["name"])


async def create(call: Call, new: NewConnector) -> tuple[Connector, bool]:
    """The connector, and whether an earlier call with the same idempotency key made it. It answers at once, PROVISIONING."""
    call.require(WRITE)
    provider = _checked(new)
    request_hash = digest([new.name, new.description, new.priority, new.config.typed, new.config.arguments])
    try:
        async with call.write() as session:
            if earlier := await _replayed(session, call, new.idempotency_key, request_hash):
                return earlier, True
            made = await _insert(session, call, new, provider, request_hash)
    except IntegrityError:
        raise await _taken(call, new, provider) from None
    call.means.bell.ring(checks.HINT)
    return made, False


def _checked(new: NewConnector) -> Provider:
    """The provider a new connector configures. Raises Problems with everything that is wrong with it."""
    problems: list[Problem] = []
    for check in (
        lambda: connector_name(new.name),
        lambda: check_settings(
            {"description": new.description, "priority": new.priority, "throttle_per_second": new.throttle_per_second}
        ),
        lambda: _check_key(new.idempotency_key),
    ):
        _collect(problems, check)
    built: list[Provider] = []
    _collect(problems, lambda: built.append(_configured(new.config)))
    if problems:
        raise Problems(problems)
    return built[0]


def _configured(source: ConfigInput) -> Provider:
    provider = configs.provider_of(source)
    return configs.build(provider, configs.values_of(source, provider), None)


def _collect(problems: list[Problem], check: Any) -> None:
    try:
        check()
    except Problem as problem:
        problems.append(problem)
    except Problems as several:
        problems += several.problems


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise Problems for settings out of range; absent ones are not looked at."""
    problems = []
    description, priority, rate = (settings.get(name) for name in ("description", "priority", "throttle_per_second"))
    if description is not None and len(description) > LONGEST_DESCRIPTION:
        problems.append(_invalid("description", f"A description has at most {LONGEST_DESCRIPTION} characters."))
    if priority is not None and priority < 0:
        problems.append(_invalid("priority", "priority must be 0 or more; 0 is tried first."))
    if rate is not None and not 0 < rate <= MOST_PER_SECOND:
        problems.append(_invalid("throttlePerSecond", f"throttlePerSecond must be above 0 and at most {MOST_PER_SECOND:.0f}."))
    if problems:
        raise Problems(problems)


def _check_key(key: str | None) -> None:
    if key is not None and not 1 <= len(key) <= 255:
        raise _invalid("idempotencyKey", "An idempotency key has 1 to 255 characters.")


def _invalid(name: str, message: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", name])


async def _replayed(session: AsyncSession, call: Call, key: str | None, request_hash: str) -> Connector | None:
    earlier = await rows.by_idempotency_key(session, call.workspace_id, key) if key is not None else None
    if earlier is not None and earlier.request_hash != request_hash:
        message = "This idempotency key was used for another request."
        raise Problem(UserErrorCode.IDEMPOTENCY_KEY_REUSED, message, ["input", "idempotencyKey"])
    return earlier


async def _insert(
    session: AsyncSession, call: Call, new: NewConnector, provider: Provider, request_hash: str | None
) -> Connector:
    at = now()
    connector_id = ids.new_id(ids.CONNECTOR)
    config, secrets = configs.kept(provider, call.workspace_id, connector_id, call.means.vault)
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
        config=config,
        secrets=secrets,
        revision=1,
        config_revision=1,
        config_updated_at=at,
        is_verified=False,
        channel_id=ids.new_id(ids.CHANNEL),
        identifier=provider.identifier,
        **_provisioning(at),
        circuit=rows.CircuitState.CLOSED,
        idempotency_key=new.idempotency_key,
        request_hash=request_hash,
        created_at=at,
        updated_at=at,
        status_updated_at=at,
    )
    session.add(connector)
    await session.flush()
    await queue.open_lane(session, call.workspace_id, connector.id, new.throttle_per_second)
    channel_changed(session, connector, "created", None, "created")
    return connector


def _provisioning(at: dt.datetime) -> dict[str, Any]:
    """The status of a connector whose checks have not run."""
    return {
        "stage": Stage.PROVISIONING,
        "component_status": ComponentStatus.PENDING,
        "status_error": None,
        "checks": None,
        "checks_run_at": None,
        "check_due_at": at,
    }


async def _taken(call: Call, new: NewConnector, provider: Provider) -> Problem:
    """Who has the name, or the idempotency key, that a unique index refused."""
    channel_type = provider.about.channel.value
    async with call.read() as session:
        found = await rows.by_name(session, call.workspace_id, connector_name(new.name), channel_type)
    if not found:
        message = "A request with this idempotency key is being answered."
        return Problem(UserErrorCode.IDEMPOTENCY_IN_PROGRESS, message, ["input", "idempotencyKey"])
    return name_taken(found[0])


def name_taken(other: Connector) -> Problem:
    message = f"The workspace has another {other.channel_type} connector of this name."
    return Problem(UserErrorCode.CONNECTOR_ALREADY_EXISTS, message, ["input", "name"], conflictingId=other.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A partial update: `settings` holds what was given, by column."""

    id: str
    expected_revision: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: ConfigInput = field(default_factory=ConfigInput)


async def update(call: Call, change: Change) -> Connector:
    """Absent is left alone, null clears. A changed configuration is checked anew; a rename or a new priority is not."""
    call.require(WRITE)
    settings = dict(change.settings)
    problems: list[Problem] = []
    if "name" in settings:
        _collect(problems, lambda: settings.update(name=connector_name(settings["name"])))
    _collect(problems, lambda: check_settings(settings))
    try:
        async with call.write() as session:
            connector = await found(session, call, change.id)
            _check_revision(connector, change.expected_revision)
            configured = await _merged(call, connector, change.config, problems)
            return await _write(session, call, connector, settings, configured)
    except IntegrityError:
        async with call.read() as session:
            connector = await found(session, call, change.id)
            others = await rows.by_name(session, call.workspace_id, settings["name"], connector.channel_type)
        raise name_taken(others[0]) from None


async def _merged(call: Call, connector: Connector, source: ConfigInput, problems: list[Problem]) -> Provider | None:
    """The changed configuration, if any was sent: given fields over stored ones. Raises Problems."""
    built: list[Provider] = []
    if source.given:
        _collect(problems, lambda: built.append(merge(call, connector, source, keep=True)))
    if problems:
        raise Problems(problems)
    return built[0] if built else None


def merge(call: Call, connector: Connector, source: ConfigInput, keep: bool) -> Provider:
    """The provider that `source` makes of a stored configuration; with `keep`, fields not sent stay as they are."""
    provider = type(call.means.providers.of(connector))
    if source.key is not None and source.key != provider.about.key:
        message = f"This connector is a {provider.about.ref}; its configuration goes under {provider.about.key}."
        raise Problem(UserErrorCode.INVALID_CONNECTOR_DATA, message, ["input", "config", source.key])
    stored = configs.stored_values(call.means.vault, connector)
    values = configs.values_of(source, provider)
    base = stored if keep else {}
    by_name = {**base, **values.by_name}
    return configs.build(provider, configs.Values(by_name, values.paths, values.base), stored)


async def _write(
    session: AsyncSession, call: Call, connector: Connector, settings: dict[str, Any], configured: Provider | None
) -> Connector:
    previous = connector.stage
    throttle = {"per_second": settings.pop("throttle_per_second")} if "throttle_per_second" in settings else None
    values = dict(settings)
    reconfigured = configured is not None and configured != call.means.providers.of(connector)
    if reconfigured and configured is not None:
        values |= _reconfigured(call, connector, configured)
    changed = await rows.change(session, call.workspace_id, connector.id, connector.revision, values)
    if changed is None:
        raise _conflict()
    if throttle is not None:
        await queue.throttle_lane(session, call.workspace_id, connector.id, throttle["per_second"])
    channel_changed(session, changed, "updated", previous, "configuration" if reconfigured else "settings")
    if reconfigured:
        call.means.bell.ring(checks.HINT)
    return changed


def _reconfigured(call: Call, connector: Connector, configured: Provider) -> dict[str, Any]:
    at = now()
    config, secrets = configs.kept(configured, call.workspace_id, connector.id, call.means.vault)
    for name, secret in secrets.items():
        before = connector.secrets.get(name)
        if before is not None and before["fingerprint"] == secret["fingerprint"]:
            secrets[name] = before
    return {
        "config": config,
        "secrets": secrets,
        "config_revision": connector.config_revision + 1,
        "config_updated_at": at,
        "identifier": configured.identifier,
        "is_verified": False,
        "verified_at": None,
        "status_updated_at": at,
        **_provisioning(at),
    }


def _check_revision(connector: Connector, expected: int | None) -> None:
    if expected is not None and connector.revision != expected:
        raise _conflict()


def _conflict() -> Problem:
    message = "The connector was changed meanwhile; read it again and repeat."
    return Problem(UserErrorCode.REVISION_CONFLICT, message, ["input", "expectedRevision"])


async def upsert(
    call: Call, new: NewConnector, channel_type: str | None, merging: bool, priority: int | None
) -> tuple[Connector, bool]:
    """The connector of this name, and whether it was made. `merging` keeps what is not sent; otherwise it is dropped."""
    call.require(WRITE)
    name = connector_name(new.name)
    source = new.config
    async with call.read() as session:
        known = source.key is not None or source.template_ref is not None
        wanted = configs.provider_of(source).about.channel.value if known else channel_type
        existing = await named(session, call, name, wanted, ["input", "name"])
    if channel_type is not None and known and wanted != channel_type:
        raise _invalid("channel", f"The configuration is of a {wanted} connector, not {channel_type}.")
    if existing is None:
        made, _ = await create(call, new)
        return made, True
    if not source.given:
        raise Problem(UserErrorCode.MISSING_CONNECTOR_CONFIG, "Give config, or arguments.", ["input", "config"])
    check_settings({"priority": priority})
    async with call.write() as session:
        connector = await found(session, call, existing.id)
        configured = merge(call, connector, source, keep=merging)
        settings = {} if priority is None else {"priority": priority}
        return await _write(session, call, connector, settings, configured), False


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
    connector = await rows.get(session, call.workspace_id, connector_id)
    if connector is None:
        raise missing(["input", "id"])
    return connector


def missing(path: Sequence[str]) -> Problem:
    return Problem(UserErrorCode.CONNECTOR_NOT_FOUND, "There is no such connector.", path)
