"""Where the links of bulk mails lead: a mail program posts to them (RFC 8058), a person finds a page with a button.

Nothing is opted out by a GET, for filters that look for harmful mail follow every link. The token in the path is all that
proves who is meant: it is never logged, counted or traced.
"""

from __future__ import annotations

import base64
import hashlib
from email import message_from_bytes
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from delivery import optouts
from delivery.optouts import Wish
from delivery.unsubscribing import PATH, Links
from gateway.bodies import read_body
from gateway.refusals import ClientGoneError, RefusalError
from models.database import Database, is_passing

MOST_BYTES = 4_096
RETRY_AFTER = 5
ONE_CLICK = ("List-Unsubscribe", "One-Click")

ASKED = "Press the button, and this sender writes no more to the address you got the mail at."
DONE = "You are unsubscribed: this sender writes to you no more, but for codes you ask for."
UNKNOWN = "This link unsubscribes nobody: a part of it is missing or was changed."
UNCLEAR = f"The body must be {'='.join(ONE_CLICK)}, as a form."
LATER = "This cannot be stored now; try again in a moment."
BROKEN = "An internal error occurred."

log = structlog.get_logger()


class Unsubscribing:
    """An ASGI application for one path, `route`."""

    def __init__(self, database: Database, links: Links) -> None:
        self._database = database
        self._links = links
        self.route = Route(f"{PATH}/{{token}}", self, methods=["GET", "POST"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except RefusalError as error:
            response = _told(request, error.status, str(error))
        except ClientGoneError:
            return
        except Exception as error:
            response = _failed(request, error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        wish = self._links.wish(request.path_params["token"])
        if wish is None:
            return _told(request, HTTPStatus.NOT_FOUND, UNKNOWN)
        if request.method != "POST":
            return _page(HTTPStatus.OK, ASKED, _BUTTON)
        body = await read_body(request.receive, request.headers.get("content-length"), MOST_BYTES)
        if ONE_CLICK not in _form(request.headers.get("content-type", ""), body):
            return _told(request, HTTPStatus.BAD_REQUEST, UNCLEAR)
        await self._opt_out(wish)
        return _told(request, HTTPStatus.OK, DONE)

    async def _opt_out(self, wish: Wish) -> None:
        async with self._database.write(urgent=True) as session:
            added = await optouts.add(session, wish)
        log.info("unsubscribed", workspace_id=wish.workspace_id, opt_out_id=added.opt_out.id, canceled=added.canceled)


def _form(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of a form in either encoding, both of which RFC 8058 lets a mail program choose."""
    if not content_type.lower().startswith("multipart/form-data"):
        return parse_qsl(body.decode("latin-1"))
    parts = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body).walk()
    fields = [(part.get_param("name", header="content-disposition"), part.get_payload(decode=True)) for part in parts]
    return [(str(name), value.decode("latin-1").strip()) for name, value in fields if isinstance(value, bytes)]


def _failed(request: Request, error: Exception) -> Response:
    if not is_passing(error):
        log.error("unsubscribing_broken", exc_info=error)
        return _told(request, HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN)
    log.error("opt_out_not_stored", error=type(error).__name__, reason=str(getattr(error, "orig", error))[:200])
    response = _told(request, HTTPStatus.SERVICE_UNAVAILABLE, LATER)
    response.headers["retry-after"] = str(RETRY_AFTER)
    return response


def _told(request: Request, status: int, sentence: str) -> Response:
    """A sentence, as a page where a browser asks."""
    if "text/html" in request.headers.get("accept", ""):
        return _page(status, sentence)
    return PlainTextResponse(f"{sentence}\n", status, _HEADERS)


def _page(status: int, sentence: str, more: str = "") -> Response:
    return HTMLResponse(_PAGE.format(style=_STYLE, sentence=escape(sentence), more=more), status, _HEADERS)


_STYLE = """
:root { color-scheme: light dark; font: 1.125rem/1.5 system-ui, sans-serif; }
main { max-width: 32rem; margin: 15vh auto 0; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; }
button { font: inherit; padding: .6rem 1.2rem; border: 0; border-radius: .4rem; background: #0f766e; color: #fff; }
button:focus-visible { outline: .2rem solid currentcolor; outline-offset: .2rem; }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Unsubscribe</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>Unsubscribe</h1>
<p>{sentence}</p>
{more}</main>
</body>
</html>
"""
_BUTTON = f"""<form method="post">
<input type="hidden" name="{ONE_CLICK[0]}" value="{ONE_CLICK[1]}">
<button>Unsubscribe</button>
</form>
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "vary": "Accept",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
