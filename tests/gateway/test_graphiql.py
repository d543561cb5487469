"""GraphiQL comes from ourselves alone, and runs the quick start in a real browser."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from yarl import URL

from gateway import graphiql
from gateway.graphiql import Assets, Page, quick_start
from gateway.serve import Server, listen
from tests import browser
from tests.harness import Gateway, running, settings_for

ROOT = Path(__file__).resolve().parents[2]
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
COMPLETE = [*graphiql._SCRIPTS, graphiql._STYLE]


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """The page's own files and stand-ins for GraphiQL's."""
    static = tmp_path / "static"
    shutil.copytree(graphiql.STATIC, static, ignore=shutil.ignore_patterns("vendor"))
    (static / "vendor").mkdir()
    for name in COMPLETE:
        (static / "vendor" / name).write_text("")
    return static


# ── the page and its files


async def test_the_page_is_shown_without_a_token_under_a_strict_policy(gateway: Gateway) -> None:
    async with gateway.http.get(f"{gateway.url}/graphql", headers=BROWSER) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert response.headers["content-security-policy"] == POLICY
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "<title>Patchbay</title>" in await response.text()


async def test_no_page_is_shown_when_it_is_switched_off(tmp_path: Path) -> None:
    async with (
        running(settings_for(tmp_path, graphiql=False)) as gateway,
        gateway.http.get(f"{gateway.url}/graphql", headers=BROWSER) as response,
    ):
        assert (response.status, response.content_type) == (401, "application/json")


def test_the_page_has_no_script_of_its_own_and_names_no_other_origin(static: Path) -> None:
    text = Page(static).text("http://127.0.0.1/graphql")
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""] * 5
    assert re.findall(r"\son\w+=|javascript:|<style|\sstyle=", text) == []
    assert re.findall(r"""(?:src|href)="(?!/)[^"]*""", text) == []
    assert "//" not in text.replace("</", "")


@pytest.mark.parametrize("name", ["graphiql.js", "graphiql.css"])
def test_the_pages_own_files_name_no_other_origin(name: str) -> None:
    assert re.findall(r"\b(?:https?|wss?):|@import|url\(", (graphiql.STATIC / name).read_text()) == []


def test_the_tabs_are_the_numbered_examples_in_order(static: Path) -> None:
    text = Page(static).text("http://127.0.0.1/graphql")
    embedded = re.search(r'data-tabs="([^"]*)"', text)
    assert embedded is not None
    tabs = json.loads(unescape(embedded[1]))
    assert tabs == quick_start()
    names = [re.search(r"^(?:query|mutation|subscription) (\w+)", tab["query"], re.M) for tab in tabs]
    assert [name and name[1] for name in names] == [
        "WhoAmI",
        "PlugIn",
        "WatchChannel",
        "Send",
        "WatchDeliveries",
        "ReadBack",
        "TestConnector",
    ]
    assert [json.loads(tab.get("variables", "{}")) for tab in tabs] == [
        {},
        {},
        {"connectorId": "con_…"},
        {},
        {"messageId": "msg_…"},
        {"messageId": "msg_…"},
        {"connectorId": "con_…"},
    ]


@pytest.mark.parametrize("lost", COMPLETE)
def test_the_page_says_what_to_run_when_a_file_is_not_there(static: Path, lost: str) -> None:
    (static / "vendor" / lost).unlink()
    text = Page(static).text('http://evil"<script>/graphql')
    assert "<code>make graphiql</code>" in text
    assert "curl http://evil&quot;&lt;script&gt;/graphql " in text
    assert "<script" not in text


async def test_files_are_asked_for_again_but_sent_once(gateway: Gateway) -> None:
    address = f"{gateway.url}/static/graphiql.js"
    async with gateway.http.get(address) as response:
        assert (response.status, response.content_type) == (200, "text/javascript")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"
        tag = response.headers["etag"]
    async with gateway.http.get(address, headers={"if-none-match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_nothing_else_is_served(gateway: Gateway) -> None:
    for path in ("static/..%2fgraphiql.py", "static/%2e%2e/graphiql.py", "static/vendor/", "static/none.js"):
        async with gateway.http.get(URL(f"{gateway.url}/{path}", encoded=True)) as response:
            assert (path, response.status) == (path, 404)


# ── fetching GraphiQL


def workshop(folder: Path, npm: str | None) -> None:
    """A checkout with what `make graphiql` needs, where `npm` is this shell script or is not installed."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("make", "mkdir", "cp", "rm"):
        if (found := shutil.which(name)) is None:
            pytest.skip(f"{name} is not installed")
        (programs / name).symlink_to(found)
    if npm is not None:
        (programs / "npm").write_text(f"#!/bin/sh\n{npm}\n")
        (programs / "npm").chmod(0o755)
    for name in ("Makefile", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)


async def make(folder: Path) -> tuple[int, str]:
    """Exit code and output of `make graphiql`."""
    run = await asyncio.create_subprocess_exec(
        str(folder / "bin" / "make"),
        "graphiql",
        cwd=folder,
        env={"PATH": str(folder / "bin")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await run.communicate()
    assert run.returncode is not None
    return run.returncode, said.decode()


async def test_without_npm_making_it_says_so_in_a_line_and_goes_on(tmp_path: Path) -> None:
    workshop(tmp_path, None)
    line = "GraphiQL is left out: it takes Node.js with npm to fetch it. Install them and run make graphiql.\n"
    assert await make(tmp_path) == (0, line)
    assert not (tmp_path / "gateway").exists()


async def test_without_the_registry_making_it_says_so_in_a_line_and_goes_on(tmp_path: Path) -> None:
    workshop(tmp_path, "exit 1")
    line = "GraphiQL is left out: npm could not fetch it. Run make graphiql when the npm registry can be reached.\n"
    assert await make(tmp_path) == (0, line)
    assert not (tmp_path / "gateway").exists()


async def test_it_is_fetched_once_as_the_lock_file_says_and_then_left_alone_without_a_word(tmp_path: Path) -> None:
    package = "mkdir -p node_modules/$1; for file in $2; do : > node_modules/$1/$file; done"
    workshop(
        tmp_path,
        f"""fetch() {{ {package}; }}
        echo "$@" >> calls
        fetch graphiql "graphiql.min.js graphiql.min.css"
        fetch graphql-ws/umd graphql-ws.min.js
        fetch react/umd react.production.min.js
        fetch react-dom/umd react-dom.production.min.js""",
    )
    assert await make(tmp_path) == (0, "")
    vendor = tmp_path / "gateway" / "static" / "vendor"
    assert {path.name for path in vendor.iterdir()} == {*COMPLETE, "package-lock.json"}
    assert await make(tmp_path) == (0, "")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["ci"]


def test_the_lock_file_holds_hashes_and_no_registry() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert [name for name, entry in packages.items() if not entry.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


# ── in Chromium


@pytest.fixture
async def page() -> AsyncIterator[browser.Page]:
    async with browser.browser() as page:
        yield page


@pytest.fixture
def complete() -> None:
    """GraphiQL's files are there."""
    if not all((graphiql.STATIC / "vendor" / name).exists() for name in COMPLETE):
        browser.missing("GraphiQL is not there: run make graphiql")


async def sign_in(page: browser.Page, gateway: Gateway, token: str) -> None:
    await page.open(f"{gateway.url}/graphql")
    await page.until("document.querySelector('.graphiql-execute-button')")
    await page.type("#token", token)
    await page.press("Enter")
    await page.until("!document.querySelector('#viewer').hidden || document.querySelector('#notice.bad')?.innerText")


QUERY = "document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror"
VARIABLES = "document.querySelector('.graphiql-editor-tool .CodeMirror').CodeMirror.getValue()"
ANSWER = "document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()"


async def run_tab(page: browser.Page, number: int) -> None:
    """Open a tab, wait until GraphiQL has read its document and the variables are filled in, and press play."""
    await page.click(f".graphiql-tab:nth-child({number}) .graphiql-tab-button")
    await page.until(f"document.querySelector('.graphiql-tab:nth-child({number})').matches('.graphiql-tab-active')")
    await page.until(f"{QUERY}.getValue().includes(` ${{{QUERY}.operationName}}`)")
    await page.until(f"!{VARIABLES}.includes('_…')")
    await page.click(".graphiql-execute-button")


async def answered(page: browser.Page, *words: str) -> None:
    """Wait until the answer that is shown has all these words."""
    await page.until(f"{json.dumps(words)}.every(word => {ANSWER}.includes(word))")


@pytest.mark.browser
@pytest.mark.usefixtures("complete")
async def test_the_quick_start_runs_in_a_browser(page: browser.Page, gateway: Gateway) -> None:
    await sign_in(page, gateway, f"  Bearer {gateway.token()}\n")
    await page.until("document.querySelector('#identity').innerText.startsWith('tester in demo · every scope · until ')")
    await run_tab(page, 1)
    await answered(page, '"subject": "tester"', '"name": "demo"')
    await run_tab(page, 2)
    await answered(page, '"stage": "PROVISIONING"', '"userErrors": []')
    await run_tab(page, 3)
    await answered(page, '"stage": "ACTIVE"', '"ready": true')
    await run_tab(page, 4)
    await answered(page, '"status": "QUEUED"', '"id": "msg_')
    await run_tab(page, 5)
    for status in ("SENT", "DELIVERED", "READ"):
        await page.until(f"""{ANSWER}.match(/"status": "(.*)"/)?.[1] === '{status}'""")
    await run_tab(page, 6)
    await answered(page, '"outcome": "SENT"', '"decision": "CHOSEN"')
    await run_tab(page, 7)
    await answered(page, '"success": true', '"deliveryTimeMs":')
    await page.click("[aria-label='Show Documentation Explorer']")
    await page.until("document.querySelector('.graphiql-doc-explorer')?.innerText.includes('Subscription')")
    assert await page.evaluate("localStorage.length") == 0
    assert page.complaints == []
    assert page.origins == {gateway.url, gateway.url.replace("http", "ws")}


@pytest.mark.browser
@pytest.mark.usefixtures("complete")
async def test_a_message_sent_again_is_the_one_that_is_watched(page: browser.Page, gateway: Gateway) -> None:
    await sign_in(page, gateway, gateway.token())
    await run_tab(page, 2)
    await answered(page, '"stage": "PROVISIONING"')
    ids = [""]
    for _ in range(2):
        await run_tab(page, 4)
        await page.until(f'/"id": "(?!{ids[-1]}")msg_/.test({ANSWER})')
        ids.append(await page.evaluate(f"JSON.parse({ANSWER}).data.messageSend.message.id"))
        await run_tab(page, 6)
        await answered(page, '"body": "Your table is booked')
        assert await page.evaluate(f"JSON.parse({VARIABLES}).messageId") == ids[-1]


@pytest.mark.browser
@pytest.mark.usefixtures("complete")
async def test_a_token_that_is_refused_is_said_so_and_not_kept(page: browser.Page, gateway: Gateway) -> None:
    token = gateway.token()
    await sign_in(page, gateway, token[:-8] + "AAAAAAAA")
    await page.until("document.querySelector('#notice').innerText.startsWith('Refused: ')")
    assert await page.evaluate("document.activeElement.id + document.querySelector('#viewer').hidden") == "tokentrue"
    assert await page.evaluate("sessionStorage.getItem('patchbay:token')") is None
    await run_tab(page, 1)
    await answered(page, "Paste a token into the box above first.")
    await page.type("#token", token)
    await page.press("Enter")
    await page.until("!document.querySelector('#viewer').hidden")
    assert await page.text("#notice") == ""
    await run_tab(page, 1)
    await answered(page, '"subject": "tester"')
    assert page.complaints == [
        f"Failed to load resource: the server responded with a status of 401 (Unauthorized) {gateway.url}/graphql"
    ]


@pytest.mark.browser
@pytest.mark.usefixtures("complete")
async def test_a_token_is_kept_over_a_reload_until_it_expires_or_is_forgotten(page: browser.Page, gateway: Gateway) -> None:
    await sign_in(page, gateway, gateway.token())
    await page.until("!document.querySelector('#viewer').hidden")
    await page.open(f"{gateway.url}/graphql?")
    await page.until("!document.querySelector('#viewer').hidden")
    await page.click("#forget")
    await page.until("document.querySelector('#viewer').hidden && !sessionStorage.getItem('patchbay:token')")
    await page.type("#token", gateway.token(seconds=2))
    await page.press("Enter")
    await page.until("!document.querySelector('#viewer').hidden")
    await page.until("document.querySelector('#notice').innerText.startsWith('The token has expired.')")
    assert await page.evaluate("sessionStorage.getItem('patchbay:token')") is None
    assert page.complaints == []


@pytest.mark.browser
async def test_the_page_without_graphiql_is_a_page(page: browser.Page, static: Path) -> None:
    shutil.rmtree(static / "vendor")
    async with served(static) as url:
        await page.open(f"{url}/graphql")
        assert await page.text("h1") == "GraphiQL is not here yet"
        assert await page.text("pre") == "make graphiql"
        assert f"curl {url}/graphql" in await page.text("main")
        assert await page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "736px"
        assert page.complaints == []
        assert page.origins == {url}


@asynccontextmanager
async def served(static: Path) -> AsyncIterator[str]:
    """The page alone, from other files."""
    app = Starlette(routes=[Route("/graphql", Page(static)), Mount("/static", Assets(directory=static))])
    listener = listen("127.0.0.1", 0)
    server = Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none"))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
