"""Connectors as the world sees them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from channels.base import ChannelType, CheckStatus
from delivery import status
from models import connectors as rows
from models.connectors import ChannelView, CircuitState, ComponentStatus, Stage, StatusView
from resolvers import connectors as use_cases
from resolvers import numbers
from resolvers.configs import redacted
from resolvers.connectors import ConnectorOrderField
from resolvers.pages import OrderDirection, PageArguments
from schema.base import Node
from schema.context import Info
from schema.metrics import ConnectorMetrics
from schema.pages import After, Before, Connection, First, Last
from schema.templates import ConnectorTemplate, by_ref, catalogue

Row = strawberry.Parent[rows.Connector]


@strawberry.type(description="One thing a check looked at.")
class CheckAssertion:
    name: str = strawberry.field(description="What was looked at.")
    status: CheckStatus = strawberry.field(description="What was found.")
    message: str = strawberry.field(description="The finding in a sentence.")


@strawberry.type(description="A named group of assertions, as bad as its worst one.")
class CheckResult:
    name: str = strawberry.field(description="A word for programs.")
    display_name: str = strawberry.field(description="A label for people.")
    status: CheckStatus = strawberry.field(description="The worst that was found.")
    assertions: list[CheckAssertion] = strawberry.field(description="What was found, one by one.")


@strawberry.type(description="The last run of a connector's checks.")
class ConnectorChecks:
    run_at: dt.datetime = strawberry.field(description="When they ran.")
    results: list[CheckResult] = strawberry.field(description="What they found.")


@strawberry.type(description="How one part of a connector is.")
class ComponentReport:
    status: ComponentStatus | None = strawberry.field(description="How it is.")
    stage: Stage | None = strawberry.field(description="Where it stands in its life.")
    error_message: str | None = strawberry.field(description="What is wrong, if something is.")


View = strawberry.Parent[StatusView]


@strawberry.type(description="Is a connector ready to send, and if not, why?")
class ConnectorStatus:
    circuit: CircuitState = strawberry.field(description="Whether it is given traffic.")

    @strawberry.field(description="A message can be sent through it now.")
    def ready(root: View) -> bool:
        return not status.reasons(root)

    @strawberry.field(description="Why it is not ready; empty when it is.")
    def reasons(root: View) -> list[str]:
        return status.reasons(root)

    @strawberry.field(description="The last run of its checks; null before the first.")
    def checks(root: View) -> ConnectorChecks | None:
        if root.checks is None or root.checks_run_at is None:
            return None
        return ConnectorChecks(run_at=root.checks_run_at, results=[_check(check) for check in root.checks])

    @strawberry.field(description="How its channel is.")
    def channel(root: View) -> ComponentReport | None:
        return ComponentReport(
            status=ComponentStatus(root.component_status), stage=Stage(root.stage), error_message=root.status_error
        )

    @strawberry.field(description="How the number messages come from is; null where the checks do not look at it.")
    def number(root: View) -> ComponentReport | None:
        found = status.number(root)
        return ComponentReport(status=found[0], stage=Stage(root.stage), error_message=found[1]) if found else None

    @strawberry.field(
        description="How receiving goes: callbacks or polling; null where nothing has come in yet, or nothing can."
    )
    def inbound(root: View) -> ComponentReport | None:
        if root.inbound_status is None:
            return None
        return ComponentReport(
            status=ComponentStatus(root.inbound_status), stage=Stage(root.stage), error_message=root.inbound_error
        )

    @strawberry.field(description="When it last changed.")
    def updated_at(root: View) -> dt.datetime:
        return root.status_updated_at


def _check(stored: dict[str, Any]) -> CheckResult:
    assertions = [CheckAssertion(name=a["name"], status=a["status"], message=a["message"]) for a in stored["assertions"]]
    return CheckResult(name=stored["name"], display_name=stored["display_name"], status=stored["status"], assertions=assertions)


@strawberry.type(description="The medium a connector opened; made and deleted with it.")
class Channel(Node):
    platform: str = strawberry.field(description="The provider behind it.")
    identifier: str | None = strawberry.field(description="The address or number messages come from, where it is known.")
    status: ComponentStatus = strawberry.field(description="How it is.")
    stage: Stage = strawberry.field(description="Where it stands in its life.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, ChannelView))


@strawberry.type(description="What the messages of a connector come from, as recipients see it.")
class SenderNumber:
    id: strawberry.ID = strawberry.field(description="One for each connector.")
    phone_number: str | None = strawberry.field(description="The number in E.164, or the short code; null of a name.")
    number_type: str | None = strawberry.field(
        description="MOBILE, TOLLFREE, LOCAL or OTHER, by its country's plan; LOCAL is also a number that may be a mobile "
        "telephone's, as in North America. Null of a name."
    )
    endpoint_type: str | None = strawberry.field(
        description="LONG_CODE_NUMBER, SHORT_CODE_NUMBER, or ALPHA_NUMBER for a name, which nobody can answer."
    )
    country: str | None = strawberry.field(description="Its country (ISO 3166-1), where the number tells it.")
    capabilities: list[str] = strawberry.field(
        description="What can be sent from it and what comes back: TEXT, MEDIA, TEMPLATES, INBOUND, DELIVERY_RECEIPTS, "
        "READ_RECEIPTS."
    )


@strawberry.type(description="How fast a connector may send.")
class Throttle:
    per_second: float | None = strawberry.field(description="Messages a second; null is unlimited.")
    burst: int | None = strawberry.field(description="Messages that may go at once after a rest.")
    paused_until: dt.datetime | None = strawberry.field(description="Until when the provider asked for rest.")


@strawberry.type(description="One setting of a connector. Secrets have no value here.")
class ConfigField:
    name: str = strawberry.field(description="Its name.")
    value: JSON | None = strawberry.field(description="Its value; null for a secret.")
    is_secret: bool = strawberry.field(description="It is kept sealed.")
    is_set: bool = strawberry.field(description="It has a value.")
    fingerprint: str | None = strawberry.field(description="Eight digits that change when the secret does.")
    updated_at: dt.datetime | None = strawberry.field(description="When it was last set; open settings are set together.")


@strawberry.type(description="A provider plugged into the workspace.")
class Connector(Node):
    workspace_id: strawberry.ID = strawberry.field(description="Its workspace.")
    name: str = strawberry.field(description="Unique within workspace and channel.")
    description: str | None = strawberry.field(description="A note of its owner.")
    channel_type: ChannelType = strawberry.field(description="The medium it serves.")
    provider: str = strawberry.field(description="The vendor or protocol.")
    priority: int = strawberry.field(description="0 is tried first; equals take turns.")
    enabled: bool = strawberry.field(description="Switched on. A disabled connector keeps its queue and sends nothing.")
    region: str | None = strawberry.field(description="Where it was installed.")
    routing_key: str = strawberry.field(description="A stable key to send by, instead of the id.")
    conversational: bool | None = strawberry.field(
        description="Inbound messages open conversations; null is the template's default."
    )
    is_verified: bool = strawberry.field(description="The last check or test of its present configuration succeeded.")
    verified_at: dt.datetime | None = strawberry.field(description="When that was.")
    revision: int = strawberry.field(description="Grows with every change; give it as `expectedRevision`.")
    created_at: dt.datetime = strawberry.field(description="When it was plugged in.")
    updated_at: dt.datetime = strawberry.field(description="When it was last changed.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.Connector))

    @strawberry.field(description="The kind of connector it is.")
    def template(root: Row) -> ConnectorTemplate:
        found = by_ref(root.template_ref)
        if found is None:
            raise LookupError(f"connector {root.id} is of the unknown template {root.template_ref}")
        return found

    @strawberry.field(
        graphql_type=JSON, description='Its configuration; a secret shows as "****", one with a colon as "****:****".'
    )
    def config(root: Row) -> dict[str, Any]:
        return redacted(root)

    @strawberry.field(description="Its configuration, field by field.")
    def config_fields(root: Row) -> list[ConfigField]:
        found = by_ref(root.template_ref)
        return [_config_field(root, field.name, field.is_secret) for field in (found.settings() if found else [])]

    @strawberry.field(description="Is it ready to send?")
    def status(root: Row) -> ConnectorStatus:
        return StatusView.of(root)  # type: ignore[return-value]

    @strawberry.field(description="The medium it opened.")
    def channel(root: Row) -> Channel | None:
        return ChannelView.of(root)  # type: ignore[return-value]

    @strawberry.field(
        description="The number or name recipients see, as configured or as the provider told it at the last checks; null "
        "where neither knows it, and for channels without numbers."
    )
    def number(root: Row) -> SenderNumber | None:
        sender = numbers.sender_of(root)
        if sender is None:
            return None
        return SenderNumber(
            id=strawberry.ID(root.id.replace("con_", "num_")),
            phone_number=sender.phone_number,
            number_type=sender.number_type,
            endpoint_type=sender.endpoint_type,
            country=sender.country,
            capabilities=numbers.capabilities(root, sender),
        )

    @strawberry.field(description="How fast it may send; null without a limit or a pause.")
    async def throttle(root: Row, info: Info) -> Throttle | None:
        lane = await info.context.lanes.load(root.id)
        if lane is None or (lane.per_second is None and lane.paused_until is None):
            return None
        burst = lane.burst if lane.per_second is not None else None
        return Throttle(per_second=lane.per_second, burst=burst, paused_until=lane.paused_until)

    @strawberry.field(
        description="Where its provider calls us, with receipts and messages; needs connectors:write. Null where this server "
        "has no public URL (`PATCHBAY_PUBLIC_URL`), or the provider does not call."
    )
    def inbound_webhook_url(root: Row, info: Info) -> str | None:
        return use_cases.inbound_webhook_url(info.context.call, root)

    @strawberry.field(description="How busy it is, and how fast its messages go.")
    async def metrics(root: Row, info: Info) -> ConnectorMetrics:
        return await info.context.metrics.load(root.id)  # type: ignore[return-value]


def _config_field(connector: rows.Connector, name: str, is_secret: bool) -> ConfigField:
    secret = connector.secrets.get(name)
    is_set = secret is not None or name in connector.config
    set_at = dt.datetime.fromisoformat(secret["updated_at"]) if secret else connector.config_updated_at
    return ConfigField(
        name=name,
        value=None if is_secret else connector.config.get(name),
        is_secret=is_secret,
        is_set=is_set,
        fingerprint=secret["fingerprint"] if secret else None,
        updated_at=set_at if is_set else None,
    )


@strawberry.input(description="Which connectors; what is left out does not restrict.")
class ConnectorFilter:
    channels: list[ChannelType] | None = strawberry.field(default=None, description="Of these channels.")
    providers: list[str] | None = strawberry.field(default=None, description="Of these vendors.")
    template_ref: str | None = strawberry.field(default=None, description="Of this template.")
    is_verified: bool | None = strawberry.field(default=None, description="Working, or not.")
    enabled: bool | None = strawberry.field(default=None, description="Switched on, or off.")
    query: str | None = strawberry.field(default=None, description="Name or description contains this.")

    def rows(self) -> rows.Filter:
        return rows.Filter(
            channels=[channel.value for channel in self.channels] if self.channels is not None else None,
            providers=self.providers,
            template_ref=self.template_ref,
            is_verified=self.is_verified,
            enabled=self.enabled,
            query=self.query,
        )


@strawberry.input(description="In which order.")
class ConnectorOrder:
    field: ConnectorOrderField = strawberry.field(description="By what.")
    direction: OrderDirection = strawberry.field(description="Which way.")


@strawberry.type
class ConnectorQueries:
    @strawberry.field(description="What can be plugged in.")
    def connector_templates(
        self,
        info: Info,
        channel: Annotated[ChannelType | None, strawberry.argument(description="Of this channel.")] = None,
        include_internal: Annotated[
            bool | None, strawberry.argument(description="Also those not for general use; for administrators of the platform.")
        ] = False,
    ) -> list[ConnectorTemplate] | None:
        if include_internal:
            info.context.call.require_admin()
        return catalogue(channel, bool(include_internal))

    @strawberry.field(description="One template, by its ref.")
    def connector_template(
        self, ref: Annotated[str, strawberry.argument(description="Such as `email-smtp:1`.")]
    ) -> ConnectorTemplate | None:
        return by_ref(ref)

    @strawberry.field(description="The workspace's connectors, in sending order unless told otherwise.")
    async def connectors(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[ConnectorFilter | None, strawberry.argument(description="Which ones.")] = None,
        order_by: Annotated[ConnectorOrder | None, strawberry.argument(description="In which order.")] = None,
    ) -> Connection[Connector] | None:
        arguments = PageArguments(first=first, after=after, last=last, before=before)
        where = filter.rows() if filter else rows.Filter()
        order = order_by.field.value if order_by else ConnectorOrderField.PRIORITY.value
        descending = order_by is not None and order_by.direction is OrderDirection.DESC
        found = await use_cases.page(info.context.call, arguments, where, order, descending)
        return Connection(content=found)

    @strawberry.field(description="One connector; null when the workspace has none of this id.")
    async def connector(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]
    ) -> Connector | None:
        return await use_cases.get(info.context.call, id)  # type: ignore[return-value]

    @strawberry.field(description="One connector by name; AMBIGUOUS_NAME when several channels have one.")
    async def connector_by_name(
        self,
        info: Info,
        name: Annotated[str, strawberry.argument(description="Its name.")],
        channel: Annotated[ChannelType | None, strawberry.argument(description="Its channel.")] = None,
    ) -> Connector | None:
        return await use_cases.by_name(info.context.call, name, channel.value if channel else None)  # type: ignore[return-value]
