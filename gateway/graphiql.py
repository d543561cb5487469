"""GraphiQL at /graphql, from files of our own: no other origin is asked, and no script runs that is not one of them.

`make graphiql` fetches GraphiQL itself into static/vendor; without it the page says so. The tabs it opens with are the quick
start, the numbered files of examples/.
"""

from __future__ import annotations

import asyncio
from html import escape
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

HERE = Path(__file__).parent
STATIC = HERE / "static"
EXAMPLES = HERE.parent / "examples"

_SCRIPTS = ("react.production.min.js", "react-dom.production.min.js", "graphiql.min.js", "graphql-ws.min.js")
_STYLE = "graphiql.min.css"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "Accept, Origin",
    "x-content-type-options": "nosniff",
}


class Page:
    """What a browser is shown: GraphiQL if its files are in `static`, else how to get them."""

    def __init__(self, static: Path = STATIC, examples: Path = EXAMPLES) -> None:
        self._static = static
        self._examples = examples

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = str(Request(scope).url.replace(query=""))
        text = await asyncio.to_thread(self.text, address)
        await HTMLResponse(text, headers=_HEADERS)(scope, receive, send)

    def text(self, address: str) -> str:
        """The page as HTML, read anew each time: `make graphiql` needs no restart. `address` is where the API is."""
        vendor = self._static / "vendor"
        complete = all((vendor / name).is_file() for name in (*_SCRIPTS, _STYLE))
        return _workbench(quick_start(self._examples)) if complete else _absent(address)


class Assets(StaticFiles):
    """The page's files. Browsers ask each time whether theirs is the newest, so that none outlives an update."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        response.headers["x-content-type-options"] = "nosniff"
        return response


def quick_start(folder: Path = EXAMPLES) -> list[dict[str, str]]:
    """The numbered examples in order: each a `query`, with its `variables` as JSON if it has some."""
    return [_tab(path) for path in sorted(folder.glob("[0-9]*.graphql"))]


def _tab(path: Path) -> dict[str, str]:
    variables = path.with_suffix(".json")
    tab = {"query": path.read_text(encoding="utf-8").rstrip()}
    return {**tab, "variables": variables.read_text(encoding="utf-8").rstrip()} if variables.exists() else tab


def _document(head: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Patchbay</title>
<link rel="icon" href="/static/patchbay.svg">
{head}<link rel="stylesheet" href="/static/graphiql.css">
</head>
<body>
{body}
</body>
</html>
"""


def _workbench(tabs: list[dict[str, str]]) -> str:
    style = f'<link rel="stylesheet" href="/static/vendor/{_STYLE}">\n'
    scripts = "".join(f'<script defer src="/static/vendor/{name}"></script>\n' for name in _SCRIPTS)
    own = '<script type="module" src="/static/graphiql.js"></script>\n'
    return _document(style + scripts + own, _WORKBENCH.replace("{tabs}", escape(orjson.dumps(tabs).decode())))


def _absent(address: str) -> str:
    return _document("", _ABSENT.replace("{address}", escape(address)))


_BRAND = '<a class="brand" href="/graphql"><img src="/static/patchbay.svg" alt="" width="24" height="24">Patchbay</a>'
_SCHEMA = '<a href="/schema.graphql">Schema</a>'

_WORKBENCH = f"""<header>
{_BRAND}
<form id="sign-in" hidden>
<label for="token">Token</label>
<input id="token" type="password" required autocomplete="off" spellcheck="false" aria-describedby="notice"
 placeholder="Paste what ./patchbay token printed">
<button>Use token</button>
</form>
<p id="viewer" hidden><span id="identity"></span><button id="forget" type="button">Forget token</button></p>
<p id="notice" role="status"></p>
<nav><a href="/graphql" target="_blank" rel="opener">Second window</a>{_SCHEMA}</nav>
</header>
<main id="graphiql" data-tabs="{{tabs}}"><noscript><p>GraphiQL needs JavaScript.</p></noscript></main>"""

_ABSENT = f"""<header>
{_BRAND}
<nav>{_SCHEMA}</nav>
</header>
<main class="absent">
<h1>GraphiQL is not here yet</h1>
<p>The API is running. Its workbench is made of npm packages that are fetched once, with Node.js and npm:</p>
<pre><code>make graphiql</code></pre>
<p>Then reload this page; the server may keep running. To go without, post operations with a token:</p>
<pre><code>curl {{address}} \\
  --json '{{"query": "{{ viewer {{ subject }} }}"}}' \\
  -H "Authorization: Bearer $(./patchbay token)"</code></pre>
</main>"""

page = Page()
