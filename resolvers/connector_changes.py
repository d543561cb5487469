"""Changing a connector that is there: by id, or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from channels import BY_REF
from channels.base import Provider
from delivery import checks
from models import connectors as rows
from models import lanes
from models.base import now
from models.connectors import Connector
from models.timeline import channel_changed
from resolvers import audit, configs, invitations
from resolvers.call import Call
from resolvers.configs import ConfigInput
from resolvers.connectors import WRITE, NewConnector, check_settings, create, invalid, missing, name_taken, named, provisioning
from resolvers.names import connector_name
from resolvers.problems import Problem, Problems, UserErrorCode, collected


class UpsertMode(StrEnum):
    REPLACE = "REPLACE"
    MERGE = "MERGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A partial update: `settings` holds what was given, by column. `keeps` says that configuration not sent stays. A connector
    stays at its template's version, unless `config` names another."""

    id: str
    expected_revision: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: ConfigInput = field(default_factory=ConfigInput)
    keeps: bool = True
    invitation_token: str | None = field(default=None, repr=False)


async def update(call: Call, change: Change, path: Sequence[str] = ("input", "id")) -> Connector:
    """Absent is left alone, null clears. A changed configuration is checked anew; a rename or a new priority is not.

    `path` names the argument that says which connector.
    """
    call.require(WRITE)
    await call.spend("connectorUpdate")
    settings = dict(change.settings)
    problems: list[Problem] = []
    if "name" in settings:
        with collected(problems):
            settings["name"] = connector_name(settings["name"] or "")
    for name in ("priority", "enabled"):
        if settings.get(name, name) is None:
            problems.append(invalid(name, f"{name} cannot be null; leave it out to keep it."))
    with collected(problems):
        check_settings(settings)
    try:
        async with call.write() as session:
            if "throttle_per_second" in settings:
                await lanes.lock(session, [change.id])
            connector = await rows.lock(session, call.workspace_id, change.id)
            if connector is None:
                raise missing(path)
            if change.expected_revision not in (None, connector.revision):
                raise _conflict()
            configured = _configured(call, connector, change, problems)
            return await _write(session, call, connector, settings, configured)
    except IntegrityError:
        raise await _taken(call, change.id, settings) from None


async def _taken(call: Call, connector_id: str, settings: Mapping[str, Any]) -> Problem:
    """Who has the new name; looked up as a writer, for its owner may not be committed yet."""
    async with call.write() as session:
        connector = await rows.get(session, call.workspace_id, connector_id)
        if connector is None or "name" not in settings:
            return _conflict()
        others = await rows.by_name(session, call.workspace_id, settings["name"], connector.channel_type)
    return name_taken(others[0]) if others else _conflict()


def _configured(call: Call, connector: Connector, change: Change, problems: list[Problem]) -> Provider | None:
    """The changed configuration, if any was sent. Raises Problems with everything that is wrong with the change."""
    built: list[Provider] = []
    if change.config.given:
        with collected(problems):
            built.append(_merged(call, connector, change))
    if problems:
        raise Problems(problems)
    return built[0] if built else None


def _merged(call: Call, connector: Connector, change: Change) -> Provider:
    """The provider that a change makes of a stored configuration. From one version of the template to another, what the other
    does not know is dropped."""
    provider = _template(connector, change.config)
    if provider.about.ref != connector.template_ref:
        invitations.check(provider.about, call.means.invitations, change.invitation_token)
    stored = configs.stored_values(call.means.vault, connector)
    values = configs.values_of(change.config, provider)
    known = {to_camel(name) for name in provider.model_fields}
    kept = {name: value for name, value in stored.items() if change.keeps and name in known}
    return configs.build(provider, configs.Values({**kept, **values.by_name}, values.paths, values.base), stored)


def _template(connector: Connector, source: ConfigInput) -> type[Provider]:
    """The connector's own, or the version of it that is named."""
    provider = BY_REF[connector.template_ref]
    about, wanted = provider.about, BY_REF.get(source.template_ref or connector.template_ref)
    if source.key in (None, about.key) and wanted is not None and wanted.about.slug == about.slug:
        return wanted
    part = ["templateRef"] if source.key in (None, about.key) else ["config", str(source.key)]
    message = f"This connector is a {about.ref}; its configuration goes under {about.key}."
    raise Problem(UserErrorCode.INVALID_CONNECTOR_DATA, message, ["input", *part])


async def _write(
    session: AsyncSession, call: Call, connector: Connector, settings: dict[str, Any], configured: Provider | None
) -> Connector:
    previous, before = connector.stage, audit.of_connector(connector)
    values = {name: value for name, value in settings.items() if name != "throttle_per_second"}
    changes = _reconfigured(call, connector, configured) if configured is not None else {}
    changed = await rows.change(session, call.workspace_id, connector.id, connector.revision, {**values, **changes})
    if changed is None:
        raise _conflict()
    if "throttle_per_second" in settings:
        [lane] = await lanes.by_ids(session, call.workspace_id, [connector.id])
        before["throttlePerSecond"] = lane.per_second
        await lanes.throttle(session, call.workspace_id, connector.id, settings["throttle_per_second"])
    channel_changed(session, changed, "updated", previous, "configuration" if changes else "settings")
    after = audit.of_connector(changed, settings.get("throttle_per_second"))
    audit.record(call, session, "connectorUpdate", changed.id, before, after)
    if changes:
        call.means.bell.ring(checks.HINT)
    return changed


def _reconfigured(call: Call, connector: Connector, configured: Provider) -> dict[str, Any]:
    """What a new configuration changes; empty when it is the one that is stored."""
    config, secrets = configs.kept(configured, call.means.vault, connector)
    ref = configured.about.ref
    if (ref, config, secrets) == (connector.template_ref, connector.config, connector.secrets):
        return {}
    at = now()
    return {
        "template_ref": ref,
        "config": config,
        "secrets": secrets,
        "config_revision": connector.config_revision + 1,
        "config_updated_at": at,
        "identifier": configured.identifier,
        "is_verified": False,
        "verified_at": None,
        "held_since": None,
        "status_updated_at": at,
        **provisioning(at),
    }


def _conflict() -> Problem:
    message = "The connector was changed meanwhile; read it again and repeat."
    return Problem(UserErrorCode.REVISION_CONFLICT, message, ["input", "expectedRevision"])


async def upsert(
    call: Call, new: NewConnector, channel_type: str | None, mode: UpsertMode, priority: int | None
) -> tuple[Connector, bool]:
    """The connector of this name, and whether it was made. MERGE keeps configuration that is not sent, REPLACE drops it. A
    connector that is there goes to the version of its template that is named, if one is."""
    call.require(WRITE)
    connector_id = await _existing(call, new, channel_type)
    if connector_id is None:
        try:
            return (await create(call, new))[0], True
        except Problem as problem:
            if problem.code is not UserErrorCode.CONNECTOR_ALREADY_EXISTS:
                raise
            connector_id = str(problem.extra["conflictingId"])  # made by another request between our look and our insert
    config = new.config if new.config.given else ConfigInput(is_null=True)
    settings = {} if priority is None else {"priority": priority}
    is_merge, token = mode is UpsertMode.MERGE, new.invitation_token
    change = Change(id=connector_id, settings=settings, config=config, keeps=is_merge, invitation_token=token)
    return await update(call, change, ["input", "name"]), False


async def _existing(call: Call, new: NewConnector, channel_type: str | None) -> str | None:
    """The id of the connector an upsert means. None also when the name or the template is none: `create` then says so."""
    source, wanted = new.config, channel_type
    try:
        name = connector_name(new.name)
        if source.key is not None or source.template_ref is not None:
            wanted = configs.provider_of(source).about.channel.value
    except Problem:
        return None
    if channel_type not in (None, wanted):
        raise invalid("channel", f"The configuration is of a {wanted} connector, not {channel_type}.")
    async with call.read() as session:
        existing = await named(session, call, name, wanted, ["input", "name"])
    return existing.id if existing is not None else None
