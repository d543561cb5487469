"""The paths of the server: GraphQL, its page, health and the schema. Everything else is 404."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import Application
from gateway.graphiql import STATIC, Assets
from schema.roots import sdl

GRAPHQL = "/graphql"


def serve_paths(application: Application) -> ASGIApp:
    """The ASGI application of a process that answers clients."""
    schema_text = sdl()

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        health = await application.health()
        body = {"status": "ready" if health.ready else "not ready", "checks": health.checks}
        return JSONResponse(body, 200 if health.ready else 503, {"cache-control": "no-store"})

    async def schema(_request: Request) -> Response:
        return PlainTextResponse(schema_text, media_type="text/plain; charset=utf-8")

    async def home(_request: Request) -> Response:
        return RedirectResponse(GRAPHQL)

    others = Starlette(
        routes=[
            Route("/", home),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/schema.graphql", schema),
            Mount("/static", Assets(directory=STATIC, check_dir=False)),
        ]
    )

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        on_graphql = scope.get("path") == GRAPHQL
        if scope["type"] == "websocket" and on_graphql:
            await application.sockets(scope, receive, send)
        elif scope["type"] == "http" and on_graphql:
            await application.endpoint(scope, receive, send)
        else:
            await others(scope, receive, send)

    return dispatch
