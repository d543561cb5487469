"""The plain HTTP paths that providers call. Each is there only when it is configured, and answers once what it was told is
stored: 2xx then, 503 while it cannot be, and the provider calls again.

Paths and queries of these calls hold secrets: they are never logged, counted or traced as they came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from channels import callbacks as channel_callbacks
from channels import meta, sms_reports, standard_webhooks, whatsapp_callbacks
from channels.base import Provider
from channels.callbacks import Callback, CallbackRefusedError, Reply
from channels.whatsapp import WhatsappCloud, WhatsappLine
from delivery.doors import Doors
from gateway import replies
from gateway.bodies import read_body
from gateway.metrics import HOOKS
from gateway.refusals import ClientGoneError, RefusalError
from gateway.settings import Settings
from models.base import now
from models.database import is_passing

MOST_BYTES = 262_144
RETRY_AFTER = 5

Answer = Callable[[Request], Awaitable[Reply]]

log = structlog.get_logger()


class Hooks:
    """`paths` are those that the settings switch on."""

    def __init__(self, doors: Doors, settings: Settings) -> None:
        self._doors = doors
        self._settings = settings

    def paths(self) -> list[BaseRoute]:
        settings = self._settings
        found = [Route(f"{HOOKS}/{{connector_id}}/{{key}}", Door(self._connector), methods=["GET", "POST"])]
        if settings.whatsapp_cloud_api_enabled and (settings.whatsapp_app_secret or settings.whatsapp_verify_token):
            found.append(Route("/v1/webhooks/whatsapp", Door(self._whatsapp), methods=["GET", "POST"]))
        if settings.sms_dlr_token:
            found.append(Route("/v1/webhooks/sms/dlr", Door(self._dlr), methods=["POST"]))
        if settings.sms_provider_secret:
            found.append(Route("/v1/webhooks/sms/provider", Door(self._provider), methods=["POST"]))
        if settings.sms_inbound_opt_out_token:
            found.append(Route("/v1/webhooks/sms/inbound-opt-out", Door(self._inbound), methods=["POST"]))
        return list(found)

    async def _connector(self, request: Request) -> Reply:
        connector = await self._doors.behind(request.path_params["connector_id"], request.path_params["key"])
        return await self._doors.take(connector, await self._called(request))

    async def _whatsapp(self, request: Request) -> Reply:
        app_secret = self._settings.whatsapp_app_secret
        callback = await self._called(request)
        meta.authenticate(callback, app_secret, self._settings.whatsapp_verify_token)
        received = whatsapp_callbacks.receive(callback)

        def knows_secret(provider: Provider) -> bool:
            if isinstance(provider, WhatsappLine):
                return True  # its app is the platform's
            kept = provider.app_secret if isinstance(provider, WhatsappCloud) else None
            return channel_callbacks.is_same(_clear(app_secret) or "", _clear(kept))

        await self._doors.take_lines(WhatsappCloud, received, knows_secret)
        return received.reply

    async def _dlr(self, request: Request) -> Reply:
        _require_token(request, self._settings.sms_dlr_token)
        await self._doors.take_reports(sms_reports.reports(await self._called(request)))
        return Reply()

    async def _provider(self, request: Request) -> Reply:
        callback = await self._called(request)
        event_id = standard_webhooks.authenticate(callback, _clear(self._settings.sms_provider_secret) or "")
        await self._doors.take_reports(sms_reports.reports(callback, event_id))
        return Reply()

    async def _inbound(self, request: Request) -> Reply:
        _require_token(request, self._settings.sms_inbound_opt_out_token)
        await self._doors.take_text(sms_reports.inbound(await self._called(request)))
        return Reply()

    async def _called(self, request: Request) -> Callback:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
        body = await read_body(request.receive, headers.get("content-length"), MOST_BYTES)
        return Callback(request.method, self._url(request.scope, headers), headers, body, now())

    def _url(self, scope: Scope, headers: dict[str, str]) -> str:
        """The address as the provider knows it, whatever a proxy made of it; without a public URL, as it came to us."""
        origin = self._settings.public_url or f"{scope['scheme']}://{headers.get('host', '')}"
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        return f"{origin}{path}?{query}" if query else f"{origin}{path}"


class Door:
    """An ASGI application that turns what becomes of a call into its answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = await self._answer(Request(scope, receive))
            answer = _reply(reply.status, reply.body, reply.content_type)
        except CallbackRefusedError as error:
            log.info("callback_refused", refusal=error.refusal.name, connector_id=scope["path_params"].get("connector_id"))
            answer = _refused(error.refusal.status, error.refusal.sentence)
        except RefusalError as error:
            answer = _refused(error.status, str(error))
        except ClientGoneError:
            return
        except Exception as error:
            answer = _failed(error)
        await answer.send(receive, send)


def _failed(error: Exception) -> replies.Reply:
    if is_passing(error):
        log.error("callback_not_stored", error=type(error).__name__, reason=str(getattr(error, "orig", error))[:200])
        reply = _refused(HTTPStatus.SERVICE_UNAVAILABLE, "The call cannot be stored now; call again.")
        reply.headers["retry-after"] = str(RETRY_AFTER)
        return reply
    log.error("callback_broken", exc_info=error)
    return _refused(HTTPStatus.INTERNAL_SERVER_ERROR, "An internal error occurred.")


def _refused(status: int, sentence: str) -> replies.Reply:
    return _reply(status, f"{sentence}\n".encode(), "text/plain; charset=utf-8")


def _reply(status: int, body: bytes, content_type: str | None) -> replies.Reply:
    length = {} if status == HTTPStatus.NO_CONTENT else {"content-length": str(len(body))}
    return replies.Reply(status, body, {**length, **({"content-type": content_type} if content_type else {})})


def _require_token(request: Request, token: SecretStr | None) -> None:
    channel_callbacks.require(_clear(token) or "", request.query_params.get("token"))


def _clear(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
