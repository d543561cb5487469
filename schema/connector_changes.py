"""Mutations of connectors: what they take and what they answer."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from channels.base import ChannelType
from resolvers import connector_changes, deletion, verification
from resolvers import connectors as use_cases
from resolvers.connector_changes import Change, UpsertMode
from resolvers.connectors import NewConnector
from schema.base import THE_INPUT, UserError, answering, no_errors, user_error
from schema.configs import ConnectorConfigInput, config_input
from schema.connectors import Connector
from schema.context import Info


@strawberry.input(description="A connector to plug in: with `config`, or with `templateRef` and `arguments`.")
class ConnectorCreateInput:
    name: str = strawberry.field(description="Unique within workspace and channel; trimmed, at most 200 characters.")
    description: str | None = strawberry.field(default=None, description="A note.")
    priority: int | None = strawberry.field(default=0, description="0 is tried first.")
    enabled: bool | None = strawberry.field(default=True, description="Switch it on.")
    conversational: bool | None = strawberry.field(default=None, description="Inbound messages open conversations.")
    throttle_per_second: float | None = strawberry.field(default=None, description="Most messages a second; null is unlimited.")
    config: ConnectorConfigInput | None = strawberry.field(default=None, description="Typed settings.")
    template_ref: str | None = strawberry.field(
        default=None, description="A template of `connectorTemplates`; with `config`, which version of it."
    )
    arguments: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="Settings by name; snake_case is taken too."
    )
    security_arguments: JSON | None = strawberry.field(
        default=strawberry.UNSET, description="Secret settings by name, or grouped by scheme."
    )
    idempotency_key: str | None = strawberry.field(default=None, description="Repeating a request with it does nothing twice.")
    invitation_token: str | None = strawberry.field(
        default=None, description="The token you were given, for a template that is not GA on a server that wants one."
    )


@strawberry.input(description="A change. What is left out stays; null clears.")
class ConnectorUpdateInput:
    id: strawberry.ID = strawberry.field(description="The connector.")
    expected_revision: int | None = strawberry.field(default=None, description="Refuse if it was changed since this revision.")
    name: strawberry.Maybe[str | None] = strawberry.field(default=None, description="A new name.")
    description: strawberry.Maybe[str | None] = strawberry.field(default=None, description="A new note.")
    priority: strawberry.Maybe[int | None] = strawberry.field(default=None, description="A new priority.")
    enabled: strawberry.Maybe[bool | None] = strawberry.field(default=None, description="Switch it on or off.")
    conversational: strawberry.Maybe[bool | None] = strawberry.field(
        default=None, description="Inbound messages open conversations."
    )
    throttle_per_second: strawberry.Maybe[float | None] = strawberry.field(
        default=None, description="A new rate; null is unlimited."
    )
    config: ConnectorConfigInput | None = strawberry.field(
        default=strawberry.UNSET, description="Typed settings; optional ones left out stay, those with a default get it."
    )
    arguments: JSON | None = strawberry.field(default=strawberry.UNSET, description="Single settings by name; null clears one.")
    security_arguments: JSON | None = strawberry.field(default=strawberry.UNSET, description="Single secret settings.")


@strawberry.input(description="A connector by name: changed when it is there, made when it is not.")
class ConnectorUpsertInput:
    name: str = strawberry.field(description="Its name.")
    channel: ChannelType | None = strawberry.field(default=None, description="Its channel, when the name alone is ambiguous.")
    template_ref: str | None = strawberry.field(
        default=None, description="Its template, with `arguments`. Another version than the connector has takes it there."
    )
    config: ConnectorConfigInput | None = strawberry.field(default=None, description="Typed settings.")
    arguments: JSON | None = strawberry.field(default=strawberry.UNSET, description="Settings by name.")
    mode: UpsertMode | None = strawberry.field(default=UpsertMode.REPLACE, description="What becomes of settings not given.")
    priority: int | None = strawberry.field(default=None, description="Its priority; left out, a new one gets 0.")
    invitation_token: str | None = strawberry.field(
        default=None,
        description="As in `connectorCreate`, when one is made.",
    )


@strawberry.input(description="A real test message.")
class ConnectorTestInput:
    id: strawberry.ID = strawberry.field(description="The connector.")
    test_destination: str = strawberry.field(description="Who gets it: an address of the connector's channel.")


@strawberry.input(description="Run the checks, send nothing.")
class ConnectorVerifyInput:
    id: strawberry.ID = strawberry.field(description="The connector.")


@strawberry.input(description="A connector to unplug: by id, or by name.")
class ConnectorDeleteInput:
    id: strawberry.ID | None = strawberry.field(default=None, description="Its id.")
    name: str | None = strawberry.field(default=None, description="Its name.")
    channel: ChannelType | None = strawberry.field(default=None, description="Its channel, when the name alone is ambiguous.")
    dry_run: bool | None = strawberry.field(default=False, description="Only tell what would happen.")


async def _everything(root: strawberry.Parent[Any], info: Info) -> list[Connector] | None:
    """Read when it is asked for, so that a mutation does not fail after it was done because its caller may not read."""
    return None if root.user_errors else await use_cases.everything(info.context.call)  # type: ignore[return-value]


@strawberry.type(description="What came of `connectorCreate`.")
class ConnectorCreatePayload:
    connector: Connector | None = strawberry.field(default=None, description="The connector, still PROVISIONING.")
    is_replay: bool = strawberry.field(default=False, description="An earlier request with this idempotency key made it.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `connectorUpdate`.")
class ConnectorUpdatePayload:
    connector: Connector | None = strawberry.field(default=None, description="The connector as it is now.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `connectorUpsert`.")
class ConnectorUpsertPayload:
    connector: Connector | None = strawberry.field(default=None, description="The connector as it is now.")
    created: bool = strawberry.field(default=False, description="It was made.")
    connectors: list[Connector] | None = strawberry.field(
        resolver=_everything,
        description="All connectors of the workspace; needs `connectors:read`. Null when nothing was done.",
    )
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="One step of a test.")
class TestStage:
    name: str = strawberry.field(description="RESOLVE, CONNECT, TLS, AUTH, SUBMIT or ACCEPTED.")
    ok: bool = strawberry.field(description="It succeeded.")
    duration_ms: float = strawberry.field(description="Milliseconds it took.")
    detail: str | None = strawberry.field(description="What went wrong.")


@strawberry.type(description="What came of `connectorTest`.")
class ConnectorTestPayload:
    success: bool = strawberry.field(default=False, description="The provider took the test message.")
    message: str = strawberry.field(default="The test message was not sent.", description="The outcome in a sentence.")
    delivery_time_ms: int | None = strawberry.field(default=None, description="Milliseconds the hand-over took.")
    tested_at: dt.datetime | None = strawberry.field(default=None, description="When it was handed over.")
    stages: list[TestStage] = strawberry.field(default_factory=list, description="The steps, as far as they went.")
    connector: Connector | None = strawberry.field(default=None, description="The connector with its new status.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `connectorVerify`.")
class ConnectorVerifyPayload:
    connector: Connector | None = strawberry.field(default=None, description="The connector with its new status.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `connectorDelete`.")
class ConnectorDeletePayload:
    deleted_connector_id: strawberry.ID | None = strawberry.field(default=None, description="The connector; null on a dry run.")
    deleted_channel_id: strawberry.ID | None = strawberry.field(default=None, description="Its channel; null on a dry run.")
    rerouted_messages: int = strawberry.field(default=0, description="Waiting messages that go through another connector.")
    failed_messages: int = strawberry.field(default=0, description="Waiting messages that failed with it.")
    connectors: list[Connector] | None = strawberry.field(
        resolver=_everything, description="The connectors that are left; needs `connectors:read`. Null when nothing was done."
    )
    user_errors: list[UserError] = no_errors()


def _settings(input: ConnectorUpdateInput) -> dict[str, Any]:
    """The settings that were given, by column."""
    names = ("name", "description", "priority", "enabled", "conversational", "throttle_per_second")
    given = {name: getattr(input, name) for name in names}
    return {name: some.value for name, some in given.items() if some is not None}


def _test_payload(trial: verification.Trial) -> ConnectorTestPayload:
    stages = [TestStage(name=s.name.value, ok=s.ok, duration_ms=s.duration_ms, detail=s.detail) for s in trial.stages]
    return ConnectorTestPayload(
        success=trial.problem is None,
        message=trial.message,
        delivery_time_ms=trial.delivery_time_ms,
        tested_at=trial.tested_at,
        stages=stages,
        connector=trial.connector,  # type: ignore[arg-type]
        user_errors=[user_error(trial.problem)] if trial.problem else [],
    )


@strawberry.type
class ConnectorMutations:
    @strawberry.mutation(description="Plug in a connector. It answers at once; the checks run behind it.")
    @answering(lambda errors: ConnectorCreatePayload(user_errors=errors))
    async def connector_create(
        self, info: Info, input: Annotated[ConnectorCreateInput, THE_INPUT]
    ) -> ConnectorCreatePayload | None:
        new = NewConnector(
            name=input.name,
            description=input.description,
            priority=input.priority or 0,
            enabled=input.enabled is not False,
            conversational=input.conversational,
            throttle_per_second=input.throttle_per_second,
            config=config_input(input.config, input.template_ref, input.arguments, input.security_arguments),
            idempotency_key=input.idempotency_key,
            invitation_token=input.invitation_token,
        )
        connector, is_replay = await use_cases.create(info.context.call, new)
        return ConnectorCreatePayload(connector=connector, is_replay=is_replay)  # type: ignore[arg-type]

    @strawberry.mutation(description="Change a connector. A changed configuration is checked anew and takes effect at once.")
    @answering(lambda errors: ConnectorUpdatePayload(user_errors=errors))
    async def connector_update(
        self, info: Info, input: Annotated[ConnectorUpdateInput, THE_INPUT]
    ) -> ConnectorUpdatePayload | None:
        change = Change(
            id=input.id,
            expected_revision=input.expected_revision,
            settings=_settings(input),
            config=config_input(input.config, None, input.arguments, input.security_arguments),
        )
        return ConnectorUpdatePayload(connector=await connector_changes.update(info.context.call, change))  # type: ignore[arg-type]

    @strawberry.mutation(description="Plug in a connector, or change the one of this name.")
    @answering(lambda errors: ConnectorUpsertPayload(user_errors=errors))
    async def connector_upsert(
        self, info: Info, input: Annotated[ConnectorUpsertInput, THE_INPUT]
    ) -> ConnectorUpsertPayload | None:
        call = info.context.call
        config = config_input(input.config, input.template_ref, input.arguments, strawberry.UNSET)
        new = NewConnector(
            name=input.name, config=config, priority=input.priority or 0, invitation_token=input.invitation_token
        )
        channel = input.channel.value if input.channel else None
        mode = input.mode or UpsertMode.REPLACE
        connector, created = await connector_changes.upsert(call, new, channel, mode, input.priority)
        return ConnectorUpsertPayload(connector=connector, created=created)  # type: ignore[arg-type]

    @strawberry.mutation(description="Send a real test message and see every step of it.")
    @answering(lambda errors: ConnectorTestPayload(user_errors=errors))
    async def connector_test(self, info: Info, input: Annotated[ConnectorTestInput, THE_INPUT]) -> ConnectorTestPayload | None:
        return _test_payload(await verification.test(info.context.call, input.id, input.test_destination))

    @strawberry.mutation(description="Run a connector's checks now. Nothing is sent.")
    @answering(lambda errors: ConnectorVerifyPayload(user_errors=errors))
    async def connector_verify(
        self, info: Info, input: Annotated[ConnectorVerifyInput, THE_INPUT]
    ) -> ConnectorVerifyPayload | None:
        return ConnectorVerifyPayload(connector=await verification.verify(info.context.call, input.id))  # type: ignore[arg-type]

    @strawberry.mutation(description="Unplug a connector and its channel. Waiting messages go elsewhere, or fail.")
    @answering(lambda errors: ConnectorDeletePayload(user_errors=errors))
    async def connector_delete(
        self, info: Info, input: Annotated[ConnectorDeleteInput, THE_INPUT]
    ) -> ConnectorDeletePayload | None:
        call, dry_run = info.context.call, bool(input.dry_run)
        channel = input.channel.value if input.channel else None
        gone = await deletion.delete(call, input.id, input.name, channel, dry_run)
        return ConnectorDeletePayload(
            deleted_connector_id=None if dry_run else strawberry.ID(gone.connector.id),
            deleted_channel_id=None if dry_run else strawberry.ID(gone.connector.channel_id),
            rerouted_messages=gone.rerouted,
            failed_messages=gone.failed,
        )
