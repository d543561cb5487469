"""What tests of subscriptions ask, and how they read what they are told."""

from __future__ import annotations

from typing import Any

from tests.harness import Gateway, Stream

Json = Any

DELIVERIES = """subscription($messageIds: [ID!], $connectorIds: [ID!], $batchId: ID, $channels: [ChannelType!],
    $flow: MessageFlow, $statuses: [MessageStatus!], $after: String) {
  deliveryUpdated(messageIds: $messageIds, connectorIds: $connectorIds, batchId: $batchId, channels: $channels, flow: $flow,
    statuses: $statuses, after: $after) {
    id cursor type status previousStatus source detail occurredAt message { id to status } } }"""
CHANNELS = """subscription($connectorIds: [ID!], $channels: [ChannelType!], $after: String) {
  channelStatusChanged(connectorIds: $connectorIds, channels: $channels, after: $after) {
    cursor type cause previousStage channelId connector { id name } status { ready channel { stage } } } }"""
EVENTS = """subscription($filter: EventFilter, $after: String) {
  events(filter: $filter, after: $after) { __typename id cursor type ... on DeliveryUpdated { message { id } } } }"""
PAGE = (
    "query($first: Int, $after: String) { events(first: $first, after: $after) { nodes { id cursor } pageInfo { endCursor } } }"
)


def status(frame: Json) -> str:
    return str(frame["status"])


async def refusal(stream: Stream) -> Json:
    """The error that a subscription ends with."""
    frame = await stream.frame()
    assert frame["type"] == "error", frame
    (error,) = frame["payload"]
    return error


async def cursors(gateway: Gateway) -> list[str]:
    """Of every event there is, oldest first."""
    found: list[str] = []
    after = None
    while True:
        page = (await gateway.gql(PAGE, first=100, after=after))["events"]
        found += [node["cursor"] for node in page["nodes"]]
        if len(page["nodes"]) < 100:
            return found
        after = page["pageInfo"]["endCursor"]
