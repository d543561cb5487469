"""Every change leaves an entry with who, what and from where; a refused one leaves none; no entry can be altered unseen."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import delete, update

from models import audit
from models.audit import AuditEntry
from schema.roots import build
from tests import make
from tests.harness import Gateway, Json

LOG = """query($first: Int, $after: String, $filter: AuditFilter) { auditLog(first: $first, after: $after, filter: $filter) {
  totalCount pageInfo { hasNextPage endCursor } nodes { id actor action targetId changes ip occurredAt } } }"""

AUDITED = {
    "whatsappCloudLineUpdate",
    "connectorCreate",
    "connectorUpdate",
    "connectorTest",
    "connectorDelete",
    "messageUpdate",
    "messageCancel",
    "messageResend",
    "messageDelete",
    "apiKeyCreate",
    "apiKeyRevoke",
    "senderIdCreate",
    "senderIdUpdate",
    "senderIdTest",
    "senderIdDelete",
    "senderIdReview",
    "optOutAdd",
    "optOutRemove",
    "workspaceCreate",
    "workspaceUpdate",
    "webhookSubscriptionCreate",
    "webhookSubscriptionUpdate",
    "webhookSubscriptionDelete",
    "webhookSigningKeyRotate",
    "webhookReplay",
}
UNAUDITED = {
    "messageSend": "each message has its own timeline",
    "messageSendBatch": "each message has its own timeline",
    "messageTest": "changes nothing",
    "webhookSubscriptionTest": "its delivery tells of it",
    "connectorVerify": "runs checks; what they find is an event",
    "connectorUpsert": "noted as what it did: connectorCreate or connectorUpdate",
}


async def log_of(gateway: Gateway, **filter: Json) -> list[Json]:
    found = (await gateway.gql(LOG, first=100, filter=filter))["auditLog"]
    nodes: list[Json] = found["nodes"]
    assert found["totalCount"] == len(nodes)
    return nodes


async def broken(gateway: Gateway) -> int | None:
    async with gateway.read() as session:
        return await audit.broken(session, gateway.demo.id)


async def test_plugging_in_changing_and_unplugging_are_noted_with_what_changed(gateway: Gateway) -> None:
    connector = await make.connector(gateway, "Main", config=make.twilio(apiKeySecret="s3cret-one"), throttlePerSecond=5)
    await make.change(
        gateway,
        connector["id"],
        priority=3,
        throttlePerSecond=None,
        config=make.twilio(apiKeySecret="s3cret-two", fromNumber="+15005550007"),
    )
    await make.mutate(gateway, "connectorDelete", id=connector["id"])
    deleted, changed, created = await log_of(gateway, targetId=connector["id"])
    assert [entry["action"] for entry in (created, changed, deleted)] == [
        "connectorCreate",
        "connectorUpdate",
        "connectorDelete",
    ]
    assert {(entry["actor"], entry["ip"]) for entry in (created, changed, deleted)} == {("tester", "127.0.0.1")}
    assert created["changes"]["name"] == {"from": None, "to": "Main"}
    assert created["changes"]["throttlePerSecond"] == {"from": None, "to": 5.0}
    assert created["changes"]["config.apiKeySecret"] == {"from": None, "to": "****"}
    assert changed["changes"] == {
        "priority": {"from": 0, "to": 3},
        "throttlePerSecond": {"from": 5.0, "to": None},
        "config.fromNumber": {"from": "+15005550006", "to": "+15005550007"},
        "config.apiKeySecret": {"from": "****", "to": "****"},
    }
    assert deleted["changes"]["config.apiKeySecret"] == {"from": "****", "to": None}
    assert "s3cret" not in str([created, changed, deleted])
    assert await broken(gateway) is None


async def test_what_was_refused_or_changed_nothing_is_not_noted(gateway: Gateway) -> None:
    connector = await make.working(gateway, "Main")
    before = await log_of(gateway)
    await make.refused(gateway, "connectorCreate", name="Main", config={"simulator": {}})
    await make.refused(gateway, "connectorUpdate", id=connector["id"], expectedRevision=99, priority=1)
    await make.refused(gateway, "connectorUpdate", id=connector["id"], name="")
    await make.refused(gateway, "connectorDelete", id="con_" + "0" * 32)
    await make.mutate(gateway, "connectorDelete", select="deletedConnectorId", id=connector["id"], dryRun=True)
    assert await log_of(gateway) == before
    assert len(before) == 1


async def test_messages_are_noted_when_somebody_steps_in(gateway: Gateway) -> None:
    connector = await make.working(gateway)
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    message = await make.message(gateway, scheduledAt=later)
    await make.mutate(gateway, "messageUpdate", select="message { id }", id=message["id"], priority="HIGH")
    await make.mutate(gateway, "messageCancel", select="message { id }", id=message["id"])
    await make.mutate(gateway, "messageCancel", select="message { id }", id=message["id"])
    again = await make.mutate(gateway, "messageResend", select="message { id }", id=message["id"])
    await make.mutate(gateway, "messageDelete", select="message { id }", id=message["id"])
    await make.mutate(gateway, "connectorTest", select="success", id=connector["id"], testDestination="delivered")
    tested, deleted, resent, canceled, updated, _created = await log_of(gateway)
    assert (updated["action"], updated["changes"]) == ("messageUpdate", {"priority": {"from": "NORMAL", "to": "HIGH"}})
    assert (canceled["action"], canceled["changes"]) == ("messageCancel", {"status": {"from": "SCHEDULED", "to": "CANCELED"}})
    assert (resent["action"], resent["changes"]) == (
        "messageResend",
        {"messageId": {"from": None, "to": again["message"]["id"]}},
    )
    assert (deleted["action"], deleted["targetId"]) == ("messageDelete", message["id"])
    assert (tested["action"], tested["changes"]) == ("connectorTest", {"success": {"from": None, "to": True}})


async def test_the_workspace_too(gateway: Gateway) -> None:
    await make.mutate(gateway, "workspaceUpdate", willActive=True)
    (entry,) = await log_of(gateway, action="workspaceUpdate")
    assert (entry["targetId"], entry["changes"]) == (gateway.demo.id, {"willActive": {"from": False, "to": True}})


async def test_it_is_filtered_and_paged(gateway: Gateway) -> None:
    for number in range(3):
        await make.connector(gateway, f"C{number}")
    everything = await log_of(gateway)
    first = (await gateway.gql(LOG, first=2))["auditLog"]
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"], first["nodes"]) == (3, True, everything[:2])
    second = (await gateway.gql(LOG, first=2, after=first["pageInfo"]["endCursor"]))["auditLog"]
    assert (second["pageInfo"]["hasNextPage"], second["nodes"]) == (False, everything[2:])
    assert await log_of(gateway, actor="nobody") == []
    assert await log_of(gateway, after=everything[1]["occurredAt"]) == everything[:1]


async def test_it_needs_its_scope_and_shows_one_workspace_only(gateway: Gateway) -> None:
    await make.connector(gateway, "Mine")
    answer = await gateway.post(LOG, token=gateway.token("connectors:*"))
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    other = gateway.token(workspace=await gateway.workspace("other"))
    assert (await gateway.gql(LOG, other))["auditLog"]["nodes"] == []


async def test_an_altered_or_missing_entry_shows(gateway: Gateway) -> None:
    for number in range(4):
        await make.connector(gateway, f"C{number}")
    assert await broken(gateway) is None
    mine = AuditEntry.workspace_id == gateway.demo.id
    async with gateway.application.database.write() as session:
        await session.execute(update(AuditEntry).where(mine, AuditEntry.seq == 3).values(actor="somebody else"))
    assert await broken(gateway) == 3
    async with gateway.application.database.write() as session:
        await session.execute(delete(AuditEntry).where(mine, AuditEntry.seq == 2))
    assert await broken(gateway) == 2
    async with gateway.application.database.write() as session:
        await session.execute(delete(AuditEntry).where(mine, AuditEntry.seq > 1))
    assert await broken(gateway) == 2


def test_every_mutation_is_audited_or_says_why_not() -> None:
    mutations = build()._schema.mutation_type
    assert mutations is not None
    assert set(mutations.fields) - AUDITED == set(UNAUDITED)
