"""Workspaces: changed by those who work in them, made and listed by administrators of the platform."""

from __future__ import annotations

from typing import Any

import pytest

from models import workspaces
from tests import make
from tests.harness import Gateway

Json = Any
MINE = "{ workspace { name willActive retentionDays } }"
BAD_NAME = "A workspace's name has 1 to 200 characters, none of them a control character."
BAD_DAYS = "retentionDays must be from 1 to 3650, or null to keep messages as they are."


async def change(gateway: Gateway, **input: Json) -> Json:
    select = "workspace { name willActive retentionDays }"
    payload = await make.mutate(gateway, "workspaceUpdate", select=select, **input)
    assert payload["userErrors"] == []
    return payload["workspace"]


async def test_what_is_left_out_stays_and_null_clears(gateway: Gateway) -> None:
    await change(gateway, name="  Shop ", willActive=True, retentionDays=30)
    assert (await gateway.gql(MINE))["workspace"] == {"name": "Shop", "willActive": True, "retentionDays": 30}
    assert await change(gateway, willActive=False) == {"name": "Shop", "willActive": False, "retentionDays": 30}
    assert await change(gateway, retentionDays=None) == {"name": "Shop", "willActive": False, "retentionDays": None}


@pytest.mark.parametrize(
    ("input", "field", "message"),
    [
        ({}, ["input"], "Give at least one field to change."),
        ({"name": None}, ["input", "name"], BAD_NAME),
        ({"name": " "}, ["input", "name"], BAD_NAME),
        ({"name": "a" * 201}, ["input", "name"], BAD_NAME),
        ({"name": "a\u0000"}, ["input", "name"], BAD_NAME),
        ({"name": "elsewhere"}, ["input", "name"], "Another workspace has this name."),
        ({"willActive": None}, ["input", "willActive"], "willActive cannot be null; leave it out."),
        (
            {"retentionDays": 0},
            ["input", "retentionDays"],
            BAD_DAYS,
        ),
    ],
)
async def test_what_no_workspace_can_be(gateway: Gateway, input: Json, field: list[str], message: str) -> None:
    await gateway.workspace("elsewhere")
    before = (await gateway.gql(MINE))["workspace"]
    assert await make.refused(gateway, "workspaceUpdate", **input) == [("VALIDATION_ERROR", field, message)]
    assert (await gateway.gql(MINE))["workspace"] == before


async def test_an_administrator_makes_workspaces_for_organizations(gateway: Gateway) -> None:
    admin = gateway.token("members:read", admin=True)
    own = (await make.mutate(gateway, "workspaceCreate", admin, name=" Acme "))["workspace"]
    assert (own["name"], own["willActive"], own["retentionDays"]) == ("Acme", False, None)
    assert own["organizationId"] not in ("", gateway.demo.organization_id)
    second = await make.mutate(gateway, "workspaceCreate", admin, name="Acme two", organizationId=own["organizationId"])
    assert second["workspace"]["organizationId"] == own["organizationId"]
    listed = (await gateway.gql("{ workspaces { nodes { name organizationId } totalCount } }", admin))["workspaces"]
    assert listed["totalCount"] == 3 and [node["name"] for node in listed["nodes"]] == ["Acme two", "Acme", "demo"]
    page = "query($after: String) { workspaces(first: 2, after: $after) { nodes { name } pageInfo { endCursor hasNextPage } } }"
    first = (await gateway.gql(page, admin))["workspaces"]
    rest = (await gateway.gql(page, admin, after=first["pageInfo"]["endCursor"]))["workspaces"]
    assert [node["name"] for node in rest["nodes"]] == ["demo"] and not rest["pageInfo"]["hasNextPage"]


async def test_the_new_workspace_works_and_its_log_begins_with_its_making(gateway: Gateway) -> None:
    made = (await make.mutate(gateway, "workspaceCreate", gateway.token(admin=True), name="Acme"))["workspace"]
    async with gateway.read() as session:
        row = await workspaces.get(session, made["id"])
    token = gateway.token(workspace=row)
    await make.connector(gateway, token=token)
    log = (await gateway.gql("{ auditLog { nodes { actor action targetId } } }", token))["auditLog"]["nodes"]
    assert log[-1] == {"actor": "tester", "action": "workspaceCreate", "targetId": made["id"]}
    who = (await gateway.gql("{ viewer { workspace { name } organization { name } } }", token))["viewer"]
    assert who == {"workspace": {"name": "Acme"}, "organization": {"name": "Acme"}}


@pytest.mark.parametrize(
    ("input", "field", "message"),
    [
        ({"name": ""}, "name", BAD_NAME),
        ({"name": "demo"}, "name", "Another workspace has this name."),
        ({"name": "x", "organizationId": "org_" + "0" * 32}, "organizationId", "There is no such organization."),
    ],
)
async def test_what_is_not_made(gateway: Gateway, input: Json, field: str, message: str) -> None:
    before = await make.counts(gateway)
    payload = await make.mutate(gateway, "workspaceCreate", gateway.token(admin=True), **input)
    assert [(e["code"], e["field"], e["message"]) for e in payload["userErrors"]] == [
        ("VALIDATION_ERROR", ["input", field], message)
    ]
    assert await make.counts(gateway) == before


async def test_only_an_administrator_looks_beyond_their_workspace(gateway: Gateway) -> None:
    elsewhere = await gateway.workspace("elsewhere")
    text = "query($id: ID!) { workspace(id: $id) { name } node(id: $id) { id } }"
    assert await gateway.gql(text, id=elsewhere.id) == {"workspace": None, "node": None}
    assert await gateway.gql(text, gateway.token(admin=True), id=elsewhere.id) == {
        "workspace": {"name": "elsewhere"},
        "node": {"id": elsewhere.id},
    }
    for query in (
        "{ workspaces { totalCount } }",
        'mutation { workspaceCreate(input: {name: "x"}) { workspace { id } } }',
        "{ connectorTemplates(includeInternal: true) { ref } }",
    ):
        (error,) = (await gateway.post(query))["errors"]
        assert (error["extensions"]["code"], error["extensions"]["requiredScope"]) == ("FORBIDDEN", "admin:platform")
