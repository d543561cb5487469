"""The three roots, and the schema they make."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import strawberry
from strawberry.schema.config import StrawberryConfig

import schema.enums  # noqa: F401  # gives the rooms' enums their GraphQL names before a type uses them
from resolvers import nodes as use_cases
from schema.api_keys import ApiKeyMutations, ApiKeyQueries
from schema.audit import AuditQueries
from schema.base import ERRORS, SCALARS, Node
from schema.batches import BatchMutations, BatchQueries, BatchSubscriptions
from schema.connector_changes import ConnectorMutations
from schema.connectors import Channel, ConnectorQueries
from schema.context import Info
from schema.control import ControlMutations
from schema.dry_run import DryRunMutations
from schema.estimates import EstimateQueries
from schema.events import ChannelStatusChanged, DeliveryUpdated, EventQueries, EventSubscriptions
from schema.inbound import InboundMessageReceived, InboundQueries, InboundSubscriptions
from schema.message_changes import MessageMutations
from schema.messages import MessageQueries
from schema.metrics import MetricsSubscriptions
from schema.optouts import OptOutMutations, OptOutQueries, OptOutSubscriptions
from schema.sender_events import SenderIdChanged, SenderIdSubscriptions
from schema.senders import SenderIdMutations, SenderIdQueries
from schema.stats import StatsQueries
from schema.tenants import TenantMutations, TenantQueries
from schema.viewer import ViewerQueries, WorkspaceMutations
from schema.webhook_changes import WebhookMutations
from schema.webhooks import WebhookDeliveryUpdated, WebhookQueries, WebhookSubscriptions
from schema.whatsapp_lines import WhatsappLineMutations

_ONE_OF = "directive @oneOf on INPUT_OBJECT"  # GraphQL's own, which cannot be given a description before it is printed


@strawberry.type(description="Everything that can be read.")
class Query(
    ViewerQueries,
    ConnectorQueries,
    MessageQueries,
    EstimateQueries,
    BatchQueries,
    StatsQueries,
    EventQueries,
    SenderIdQueries,
    InboundQueries,
    OptOutQueries,
    AuditQueries,
    ApiKeyQueries,
    WebhookQueries,
    TenantQueries,
):
    @strawberry.field(description="Anything with an id; null when the workspace has no such thing.")
    async def node(self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="Its id.")]) -> Node | None:
        return await use_cases.get(info.context.call, id)  # type: ignore[return-value]

    @strawberry.field(description="Several things by id, in the order asked for.")
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], strawberry.argument(description="Their ids, 100 at most.")]
    ) -> list[Node | None]:
        return await use_cases.get_all(info.context.call, ids)  # type: ignore[return-value]


@strawberry.type(description="Everything that can be done.")
class Mutation(
    ConnectorMutations,
    MessageMutations,
    DryRunMutations,
    ControlMutations,
    BatchMutations,
    SenderIdMutations,
    OptOutMutations,
    WhatsappLineMutations,
    WorkspaceMutations,
    ApiKeyMutations,
    WebhookMutations,
    TenantMutations,
):
    pass


@strawberry.type(description="Everything that can be watched.")
class Subscription(
    EventSubscriptions,
    InboundSubscriptions,
    BatchSubscriptions,
    SenderIdSubscriptions,
    OptOutSubscriptions,
    MetricsSubscriptions,
    WebhookSubscriptions,
):
    pass


@cache
def build(is_sorted: bool = False) -> strawberry.Schema:
    """The schema; sorted only to be printed, for sorting turns enums into plain strings. Types reached only through an
    interface are named here."""
    return strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[
            *ERRORS,
            ChannelStatusChanged,
            DeliveryUpdated,
            InboundMessageReceived,
            SenderIdChanged,
            WebhookDeliveryUpdated,
            Channel,
        ],
        config=StrawberryConfig(scalar_map=SCALARS, sort_schema=is_sorted),
    )


@cache
def sdl() -> str:
    """The schema in GraphQL's own language, sorted, as `schema.graphql` holds it."""
    text = build(is_sorted=True).as_str()
    return text.replace(_ONE_OF, f'"""Of the input\'s fields exactly one is given, and not as null."""\n{_ONE_OF}', 1) + "\n"
