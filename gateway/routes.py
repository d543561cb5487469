"""The paths of the server: GraphQL, its page, what providers call, where the links of bulk mails lead, health, metrics and the
schema. All else is 404."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

import schema
from gateway.app import Application
from gateway.graphiql import STATIC, Assets
from gateway.hooks import Hooks
from gateway.metrics import is_bearer
from gateway.replies import SMALLEST_COMPRESSED
from gateway.unsubscribing import Unsubscribing
from resolvers.audit import ADDRESS

GRAPHQL = "/graphql"
SCHEMA = Path(schema.__file__).with_name("schema.graphql")


def serve_paths(application: Application) -> ASGIApp:
    """The ASGI application of a process that answers clients."""
    schema_text = SCHEMA.read_text(encoding="utf-8")

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        health = await application.health()
        body = {"status": "ready" if health.ready else "not ready", "checks": health.checks}
        return JSONResponse(body, 200 if health.ready else 503, {"cache-control": "no-store"})

    async def schema_file(_request: Request) -> Response:
        return PlainTextResponse(schema_text, media_type="text/plain; charset=utf-8")

    async def home(_request: Request) -> Response:
        return RedirectResponse(GRAPHQL)

    others = Starlette(
        routes=[
            Route("/", home),
            *_watched(application),
            Route("/schema.graphql", schema_file),
            *Hooks(application.doors, application.settings).paths(),
            Unsubscribing(application.database, application.providers.links).route,
            Mount("/static", Assets(directory=STATIC, check_dir=False)),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=SMALLEST_COMPRESSED, compresslevel=4)],
    )

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        on_graphql = scope.get("path") == GRAPHQL
        ADDRESS.set(scope["client"][0] if scope.get("client") else None)
        if scope["type"] == "websocket" and on_graphql:
            await application.sockets(scope, receive, send)
        elif scope["type"] == "http" and on_graphql:
            await application.endpoint(scope, receive, send)
        else:
            await others(scope, receive, send)

    return application.traces.around(application.metrics.requests.around(dispatch))


def watch_paths(application: Application) -> ASGIApp:
    """The ASGI application of a process that only works: whoever watches it may ask how it is."""
    return application.metrics.requests.around(Starlette(routes=_watched(application)))


def _watched(application: Application) -> list[Route]:
    """Health, and the metrics if there is a token to read them with."""
    token = application.settings.metrics_token

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        health = await application.health()
        body = {"status": "ready" if health.ready else "not ready", "checks": health.checks}
        return JSONResponse(body, 200 if health.ready else 503, {"cache-control": "no-store"})

    async def metrics(request: Request) -> Response:
        if token is None or not is_bearer(request.headers.get("authorization"), token.get_secret_value()):
            return PlainTextResponse("Unauthorized\n", 401, {"www-authenticate": "Bearer", "cache-control": "no-store"})
        text, content_type = await application.metrics.exposition(request.headers.get("accept"))
        return Response(text, headers={"content-type": content_type, "cache-control": "no-store"})

    health = [Route("/healthz", healthz), Route("/readyz", readyz)]
    return health if token is None else [*health, Route("/metrics", metrics)]
