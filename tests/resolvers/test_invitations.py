"""Templates that are not generally available, and who may plug them in."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from channels.base import ChannelType, ReleaseStatus, Template
from resolvers import invitations
from resolvers.problems import Problem, UserErrorCode
from tests import make
from tests.harness import Gateway, Json, running, settings_for

FIRST, SECOND = "invitation-of-the-first", "invitation-of-the-second"
BETA = {"messenger": {"accessToken": "EAAB-meta", "pageId": "1353269864728879", "baseUrl": "http://127.0.0.1:9"}}
REFUSAL = "facebook:1 is not generally available; give the invitation token you got for it."


def template(status: ReleaseStatus) -> Template:
    return Template(slug="fax", key="fax", channel=ChannelType.SMS, provider="FAX", title="Fax", release_status=status)


@pytest.mark.parametrize(
    ("status", "known", "given"),
    [
        (ReleaseStatus.GA, [], None),
        (ReleaseStatus.GA, [FIRST], "wrong"),
        (ReleaseStatus.BETA, [], None),
        (ReleaseStatus.BETA, [FIRST, SECOND], SECOND),
        (ReleaseStatus.INTERNAL, [FIRST, SECOND], FIRST),
    ],
)
def test_who_is_invited_may_go_on(status: ReleaseStatus, known: list[str], given: str | None) -> None:
    invitations.check(template(status), known, given)


@pytest.mark.parametrize(
    ("status", "known", "given"),
    [
        (ReleaseStatus.BETA, [FIRST], None),
        (ReleaseStatus.BETA, [FIRST], ""),
        (ReleaseStatus.BETA, [FIRST], FIRST[:-1]),
        (ReleaseStatus.BETA, [FIRST], "\ud800"),
        (ReleaseStatus.INTERNAL, [FIRST], SECOND),
        (ReleaseStatus.INTERNAL, [], None),
        (ReleaseStatus.INTERNAL, [], ""),
    ],
)
def test_who_is_not_invited_is_refused(status: ReleaseStatus, known: list[str], given: str | None) -> None:
    with pytest.raises(Problem) as caught:
        invitations.check(template(status), known, given)
    assert (caught.value.code, caught.value.field) == (UserErrorCode.INVITATION_REQUIRED, ["input", "invitationToken"])


async def create(gateway: Gateway, field: str = "connectorCreate", **given: Json) -> Json:
    return await make.mutate(gateway, field, **{"name": "Page", "config": BETA, **given})


async def test_a_beta_template_is_open_where_no_tokens_are_set(gateway: Gateway) -> None:
    assert (await create(gateway))["userErrors"] == []


async def test_a_beta_template_asks_for_one_of_the_tokens_that_are_set(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, invitation_tokens=SecretStr(f"{FIRST}, {SECOND}"))
    async with running(settings, worker=False) as gateway:
        for field in ("connectorCreate", "connectorUpsert"):
            for given in ({}, {"invitationToken": None}, {"invitationToken": "wrong-but-long-enough"}):
                (error,) = (await create(gateway, field, **given))["userErrors"]
                assert (error["code"], error["field"], error["httpStatus"], error["message"]) == (
                    "INVITATION_REQUIRED",
                    ["input", "invitationToken"],
                    403,
                    REFUSAL,
                )
        assert (await gateway.gql("{ connectors { nodes { id } } }"))["connectors"]["nodes"] == []
        await make.connector(gateway, "Sim", invitationToken="ignored")
        made = await create(gateway, invitationToken=FIRST, idempotencyKey="k")
        again = await create(gateway, invitationToken=SECOND, idempotencyKey="k")
        assert (made["isReplay"], again["isReplay"], made["userErrors"]) == (False, True, [])
        upserted = await create(gateway, "connectorUpsert", name="Other", invitationToken=SECOND)
        assert (upserted["created"], upserted["userErrors"]) == (True, [])
        changed = await create(gateway, "connectorUpsert", name="Other", priority=3)
        assert (changed["created"], changed["userErrors"]) == (False, [])
