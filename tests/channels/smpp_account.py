"""An account at an SMSC, and what is sent through it."""

from __future__ import annotations

from typing import Any

import pytest

from channels.base import Outbound
from channels.errors import SendError
from channels.exchange import Exchange
from channels.smpp import Smpp
from channels.smpp_pdu import DeliverSm
from channels.wire import Wire

PASSWORD, TEXT, TO = "s3cret-9f", "Your code is 123456", "+447700900123"


def smpp(port: int, **changes: Any) -> Smpp:
    given = {"host": "127.0.0.1", "port": port, "security": "NONE", "systemId": "acme", "password": PASSWORD}
    return Smpp.model_validate({**given, "fromNumber": "AcmeInc", **changes})


def message(**changes: Any) -> Outbound:
    return Outbound(**{"id": "msg_1", "to": TO, "body": TEXT, **changes})


def receipt(name: str, stat: str = "DELIVRD") -> DeliverSm:
    return DeliverSm(esm_class=4, short_message=f"id:{name} stat:{stat} err:000".encode())


async def failure(channel: Smpp, wire: Wire, exchange: Exchange | None = None, **changes: Any) -> SendError:
    with pytest.raises(SendError) as caught:
        await channel.send(wire, message(**changes), exchange or Exchange())
    return caught.value
