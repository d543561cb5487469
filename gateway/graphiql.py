"""GraphiQL, from assets of our own."""

from __future__ import annotations

from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """The page a browser is shown at /graphql."""
    await HTMLResponse("<!doctype html><title>Patchbay</title>")(scope, receive, send)
