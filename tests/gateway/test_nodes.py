"""Whatever is a Node is found by its id, by those who may see it, and by nobody of another workspace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from graphql import GraphQLInterfaceType

from schema.roots import build
from tests import hooks, make
from tests.harness import Gateway, eventually
from tests.provider_server import ProviderServer

NODES = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
NODE = "query($id: ID!) { node(id: $id) { __typename id } }"
BY_PROVIDERS = {"InboundMessage"}  # tests/gateway/test_hooks.py finds one by its id


async def connector(gateway: Gateway) -> str:
    return str((await make.working(gateway))["id"])


async def channel(gateway: Gateway) -> str:
    return str((await make.working(gateway, "Of a channel"))["channel"]["id"])


async def message(gateway: Gateway) -> str:
    return str((await make.message(gateway))["id"])


async def batch(gateway: Gateway) -> str:
    drafts = [{"to": "delivered", "channel": "SIMULATOR", "body": "Hello"}]
    return str((await make.mutate(gateway, "messageSendBatch", select="batch { id }", messages=drafts))["batch"]["id"])


async def api_key(gateway: Gateway) -> str:
    return (await make.api_key(gateway))[0]


async def sender_id(gateway: Gateway) -> str:
    return str((await make.mutate(gateway, "senderIdCreate", select="senderId { id }", value="Acme"))["senderId"]["id"])


async def subscription(gateway: Gateway) -> str:
    return str((await hooks.subscribe(gateway, "http://127.0.0.1:9/"))["id"])


async def delivery(gateway: Gateway) -> str:
    async with ProviderServer() as receiver:
        made = await hooks.subscribe(gateway, receiver.url)
        tried = await hooks.payload(gateway, "webhookSubscriptionTest", id=made["id"])
    return str(tried["delivery"]["id"])


async def opt_out(gateway: Gateway) -> str:
    added = await make.mutate(gateway, "optOutAdd", select="optOut { id }", recipient="+447700900123", channel="SMS")
    return str(added["optOut"]["id"])


async def workspace(gateway: Gateway) -> str:
    return gateway.demo.id


MAKERS: dict[str, Callable[[Gateway], Awaitable[str]]] = {
    "ApiKey": api_key,
    "Channel": channel,
    "Connector": connector,
    "Message": message,
    "MessageBatch": batch,
    "OptOut": opt_out,
    "SenderId": sender_id,
    "WebhookDelivery": delivery,
    "WebhookSubscription": subscription,
    "Workspace": workspace,
}


def kinds() -> set[str]:
    schema = build()._schema
    node = schema.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    return {kind.name for kind in schema.get_possible_types(node)}


async def test_every_node_is_found_by_its_id(gateway: Gateway) -> None:
    assert kinds() <= {*MAKERS, *BY_PROVIDERS}, "say here how one is made"
    made = {kind: await MAKERS[kind](gateway) for kind in sorted(kinds() - BY_PROVIDERS)}
    expected = [{"__typename": kind, "id": node_id} for kind, node_id in made.items()]

    async def all_found() -> bool:
        return bool((await gateway.gql(NODES, ids=list(made.values())))["nodes"] == expected)

    await eventually(all_found)
    for node in expected:
        assert (await gateway.gql(NODE, id=node["id"]))["node"] == node
    stranger = gateway.token(workspace=await gateway.workspace("elsewhere"))
    assert (await gateway.gql(NODES, stranger, ids=list(made.values())))["nodes"] == [None] * len(made)
