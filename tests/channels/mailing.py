"""What tests of SMTP are given: a connector of a real mail server on loopback, which is told how to misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from channels.base import Outbound, Report
from channels.egress import Egress
from channels.errors import SendError
from channels.exchange import Exchange
from channels.http import Http
from channels.smtp import Smtp
from channels.wire import Wire
from tests.mail_server import MailServer

CREDENTIALS = ("mailer@example.com", "correct horse battery")
MAIL = Outbound(id="msg_1", to="ada@example.org", subject="Hello", body="How are you?")


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async def report(_: Report) -> None:
        raise AssertionError("SMTP reports nothing later")

    async with Http(Egress(allow_private=True)) as http:
        yield Wire(http, Egress(allow_private=True), report)


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Callable[[MailServer], None]:
    return lambda server: monkeypatch.setenv("SSL_CERT_FILE", server.certificate)


def settings(server: MailServer, **others: Any) -> dict[str, Any]:
    login = dict(zip(("username", "password"), server.credentials, strict=True)) if server.credentials else {}
    return {
        "smtpHost": server.host,
        "smtpPort": server.port,
        "fromAddress": "noreply@example.com",
        "security": server.security.upper(),
        **login,
        **others,
    }


@asynccontextmanager
async def connected(server: MailServer, **others: Any) -> AsyncIterator[Smtp]:
    provider = Smtp.model_validate(settings(server, **others))
    try:
        yield provider
    finally:
        await provider.close()


async def refused(call: Awaitable[Any]) -> SendError:
    with pytest.raises(SendError) as caught:
        await call
    return caught.value


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def stages(exchange: Exchange) -> list[tuple[str, bool]]:
    return [(stage.name.value, stage.ok) for stage in exchange.stages]


def own_address() -> str:
    """An address of this machine that is not a loopback one; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])
