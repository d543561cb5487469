"""Unsubscribing from bulk mail: what a mail carries, what a mail program posts, and what a person sees."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from delivery.unsubscribing import PATH, Links
from gateway import logs
from gateway.unsubscribing import ASKED, DONE, MOST_BYTES, UNCLEAR, UNKNOWN
from models.base import now
from models.optouts import OptOut
from models.underway import Underway
from models.vault import Vault
from tests import browser, make
from tests.gateway import calls
from tests.harness import Gateway, Json, running, settings_for
from tests.mail_server import MailServer
from tests.sending import log_of, message, plug, send, settled, try_send

ADA = "Ada@example.org"
ONE_CLICK = b"List-Unsubscribe=One-Click"
FORM = {"content-type": calls.FORM}
BULK: Json = {"channel": "EMAIL", "subject": "Sale", "body": "All must go.", "priority": "BULK"}
BROWSER = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path, public_url=calls.PUBLIC, metrics_token="m" * 16)) as started:
        yield started


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer("none") as started:
        yield started


async def mail(gateway: Gateway, server: MailServer, to: str = ADA, token: str | None = None, **given: Json) -> Json:
    """The mail that came of a message."""
    before = len(server.received)
    await settled(gateway, await send(gateway, to, token, **{**BULK, **given}), "SENT", token=token)
    assert len(server.received) == before + 1
    return server.received[-1].message


async def link(gateway: Gateway, server: MailServer, **given: Json) -> str:
    """Where a bulk mail says its reader can unsubscribe."""
    return str((await mail(gateway, server, **given))["List-Unsubscribe"]).strip("<>")


async def opt_outs(gateway: Gateway) -> list[tuple[str, str, str, str]]:
    async with gateway.read() as session:
        rows = await session.scalars(select(OptOut).order_by(OptOut.id))
        return [(row.workspace_id, row.channel_type, row.recipient, row.source) for row in rows]


async def test_only_bulk_mail_carries_a_link(gateway: Gateway, server: MailServer) -> None:
    await plug(gateway, "Mail", config=make.smtp(server.port))
    sale = await mail(gateway, server)
    url = str(sale["List-Unsubscribe"])
    assert url.startswith(f"<{calls.PUBLIC}{PATH}/v1.") and url.endswith(">")
    assert sale["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    sealed = base64.urlsafe_b64decode(url.strip("<>").rpartition(".")[2] + "==")
    for told in (b"ada", b"example.org", gateway.demo.id.encode()):
        assert told not in sealed.lower() and told.decode() not in url.lower()
    for given in ({"priority": "NORMAL"}, {"priority": "HIGH"}, {"flow": "OTP"}, {"flow": "OTP", "priority": None}):
        plain = await mail(gateway, server, **given)
        assert (plain["List-Unsubscribe"], plain["List-Unsubscribe-Post"]) == (None, None), given


@pytest.mark.parametrize("public_url", [None, "http://gw.example"])
def test_without_https_there_is_no_link(public_url: str | None) -> None:
    vault = Vault({"k": b"k" * 32}, "k")
    assert Links(vault, public_url).of(underway()) is None
    assert Links(vault, calls.PUBLIC).of(underway()) is not None
    assert Links(vault, calls.PUBLIC).of(underway(channel_type="SMS")) is None


def underway(**changes: Json) -> Underway:
    given = {
        "workspace_id": "wsp_1",
        "channel_type": "EMAIL",
        "flow": "STANDARD",
        "priority": "BULK",
        "to": "grüße@example.org",
    }
    return Underway(**{**dict.fromkeys(Underway.__slots__), **given, **changes})


def test_a_link_outlives_the_change_of_keys() -> None:
    url = Links(Vault({"old": b"o" * 32}, "old"), calls.PUBLIC).of(underway())
    token = str(url).rpartition("/")[2]
    both = Links(Vault({"new": b"n" * 32, "old": b"o" * 32}, "new"), calls.PUBLIC)
    wish = both.wish(token)
    assert wish is not None and (wish.workspace_id, wish.channel_type, wish.recipient) == (
        "wsp_1",
        "EMAIL",
        "grüße@example.org",
    )
    assert Links(Vault({"new": b"n" * 32}, "new"), calls.PUBLIC).wish(token) is None
    elsewhere = both._vault.seal('["wsp_1", "EMAIL", "a@example.org"]', "cursor")
    assert both.wish(elsewhere) is None, "what was sealed for something else is no link"


async def test_one_click_stops_what_waits_and_what_comes(gateway: Gateway, server: MailServer) -> None:
    await plug(gateway, "Mail", config=make.smtp(server.port))
    other = gateway.token(workspace=await gateway.workspace("other"))
    await plug(gateway, "Mail", other, config=make.smtp(server.port))
    url = await link(gateway, server)
    later = (now() + dt.timedelta(hours=1)).isoformat()
    scheduled = await send(gateway, ADA.lower(), **BULK, scheduledAt=later)
    theirs = await send(gateway, ADA, other, **BULK, scheduledAt=later)
    assert await calls.call(gateway, url, ONE_CLICK, FORM) == (200, f"{DONE}\n")
    found = await message(gateway, scheduled)
    assert (found["status"], found["failure"]["code"]) == ("CANCELED", "RECIPIENT_OPTED_OUT")
    assert await opt_outs(gateway) == [(gateway.demo.id, "EMAIL", ADA.lower(), "UNSUBSCRIBE")]
    refused = await try_send(gateway, to=ADA, **BULK)
    assert [error["code"] for error in refused["userErrors"]] == ["RECIPIENT_OPTED_OUT"]
    assert (await message(gateway, theirs, other))["status"] == "SCHEDULED"
    await mail(gateway, server, token=other)
    await mail(gateway, server, flow="OTP")
    changes = [event.type for event in await log_of(gateway)]
    assert await calls.call(gateway, url, ONE_CLICK, FORM) == (200, f"{DONE}\n")
    assert len(await opt_outs(gateway)) == 1
    assert [event.type for event in await log_of(gateway)] == changes, "the second click changes nothing"


async def test_a_form_in_parts_is_one_click_too(gateway: Gateway) -> None:
    url = made(gateway)
    boundary = {"content-type": "multipart/form-data; boundary=b0und"}
    part = b'--b0und\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\n%s\r\n--b0und--\r\n'
    assert await calls.call(gateway, url, part % b"Later", boundary) == (400, f"{UNCLEAR}\n")
    assert await opt_outs(gateway) == []
    assert await calls.call(gateway, url, part % b"One-Click", boundary) == (200, f"{DONE}\n")
    assert await opt_outs(gateway) == [(gateway.demo.id, "EMAIL", ADA.lower(), "UNSUBSCRIBE")]


def made(gateway: Gateway) -> str:
    """The link of a bulk mail that Ada got."""
    return str(gateway.application.providers.links.of(underway(workspace_id=gateway.demo.id, to=ADA)))


async def test_nothing_else_opts_out(gateway: Gateway) -> None:
    url = made(gateway)
    for body in (b"", b"List-Unsubscribe=one-click", b"List-Unsubscribe", b"{}", b"\xff\x00%ff"):
        assert await calls.call(gateway, url, body, FORM) == (400, f"{UNCLEAR}\n"), body
    assert (await calls.call(gateway, url, ONE_CLICK, {"content-type": "multipart/form-data"}))[0] == 400
    assert (await calls.call(gateway, url, ONE_CLICK + b"&" * MOST_BYTES, FORM))[0] == 413
    for method in ("GET", "HEAD"):
        assert (await calls.call(gateway, url, method=method))[0] == 200
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert (await calls.call(gateway, url, ONE_CLICK, FORM, method))[0] == 405
    assert await opt_outs(gateway) == [] and await log_of(gateway) == []


async def test_a_forged_link_is_nobodys(gateway: Gateway) -> None:
    base, token = made(gateway).rsplit("/", 1)
    version, kid, sealed = token.split(".")
    middle = len(sealed) // 2
    changed = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    foreign = Links(Vault({kid: b"x" * 32}, kid), calls.PUBLIC).of(underway(workspace_id=gateway.demo.id))
    forged = [
        f"{version}.{kid}.{changed}",
        f"{version}.other.{sealed}",
        token[:-1],
        token + "A",
        "v1.k.",
        "x",
        "%ff%00",
        "é.é.é",
    ]
    for url in (*(f"{base}/{each}" for each in forged), str(foreign)):
        assert await calls.call(gateway, url, method="GET") == (404, f"{UNKNOWN}\n"), url
        assert await calls.call(gateway, url, ONE_CLICK, FORM) == (404, f"{UNKNOWN}\n"), url
    assert await opt_outs(gateway) == []


async def test_the_page_may_do_nothing_but_post(gateway: Gateway) -> None:
    url = urlsplit(made(gateway))
    async with gateway.http.get(gateway.url + url.path, headers=BROWSER) as response:
        page, headers = await response.text(), response.headers
    assert ASKED in page and "<script" not in page and url.path not in page
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self'; frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-robots-tag"], headers["referrer-policy"]) == ("noindex", "no-referrer")
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    async with gateway.http.get(f"{gateway.url}{url.path}x", headers=BROWSER) as response:
        assert (response.status, response.content_type) == (404, "text/html")
        assert UNKNOWN in await response.text()


async def test_a_person_presses_the_button(gateway: Gateway) -> None:
    path = urlsplit(made(gateway)).path
    async with browser.browser() as page:
        await page.open(gateway.url + path)
        assert (await page.text("h1"), await page.text("p")) == ("Unsubscribe", ASKED)
        assert await page.evaluate("getComputedStyle(document.querySelector('button')).color") == "rgb(255, 255, 255)"
        assert await opt_outs(gateway) == []
        await page.click("button")
        await page.until("!document.querySelector('button') && document.readyState === 'complete'")
        assert await page.text("p") == DONE
        assert page.complaints == [] and page.origins == {gateway.url}
    assert await opt_outs(gateway) == [(gateway.demo.id, "EMAIL", ADA.lower(), "UNSUBSCRIBE")]


class Quoting(MailServer):
    """Refuses mail for an address it links to, and says which."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await super().handle_DATA(server, session, envelope)
        return f"550 5.7.1 bad link {self.received[-1].message['List-Unsubscribe']}"


async def test_a_server_that_quotes_the_link_does_not_give_it_away(gateway: Gateway) -> None:
    async with Quoting("none") as server:
        await plug(gateway, "Mail", config=make.smtp(server.port))
        found = await settled(gateway, await send(gateway, ADA, **BULK), "FAILED")
        token = str(server.received[0].message["List-Unsubscribe"]).strip("<>").rpartition("/")[2]
    assert "bad link" in json.dumps(found) and token not in json.dumps(found)
    assert not any(token in json.dumps(event.payload) for event in await log_of(gateway))


async def test_the_token_stays_out_of_logs_and_metrics(gateway: Gateway, server: MailServer) -> None:
    await plug(gateway, "Mail", config=make.smtp(server.port))
    url = await link(gateway, server)
    logs.configure("debug", "json", stream=(lines := io.StringIO()))
    try:
        await calls.call(gateway, url, method="GET")
        await calls.call(gateway, url, b"nonsense", FORM)
        await calls.call(gateway, f"{url}x", ONE_CLICK, FORM)
        await calls.call(gateway, url, ONE_CLICK, FORM)
    finally:
        logs.configure("info", "console")
    ours = [line for line in lines.getvalue().splitlines() if "uvicorn.access" not in line]  # which no server of ours writes
    assert sum("unsubscribed" in line for line in ours) == 1
    token = url.rpartition("/")[2]
    async with gateway.http.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {'m' * 16}"}) as response:
        counted = await response.text()
    assert f'path="{PATH}"' in counted
    for secret in (token, ADA, ADA.lower()):
        assert not any(secret in line for line in (*ours, *counted.splitlines()))
