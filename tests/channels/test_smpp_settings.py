"""An account at an SMSC: verified, kept within its rules, its secrets kept."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import ValidationError

from channels.base import CheckStatus
from channels.exchange import Exchange
from channels.smpp import Smpp
from channels.wire import Wire
from tests.channels.smpp_account import PASSWORD, TEXT, failure, message, smpp
from tests.smsc import DROP, NONSENSE, Smsc


async def test_verification_binds_and_leaves_without_sending(smsc: Smsc, wire: Wire) -> None:
    checks = await smpp(smsc.port).verify(wire)
    found = {item.name: item.status for check in checks for item in check.assertions}
    ok = CheckStatus.OK
    assert found == {"dns": ok, "tcp": ok, "tls": CheckStatus.WARNING, "bind": ok, "enquire_link": ok}
    assert (len(smsc.binds), smsc.enquiries, smsc.unbinds, smsc.submitted) == (1, 1, 1, [])


@pytest.mark.parametrize(
    ("status", "found"), [(0x0E, CheckStatus.ERROR), (0x08, CheckStatus.INDETERMINATE), (0x05, CheckStatus.WARNING)]
)
async def test_verification_tells_outage_from_refusal(smsc: Smsc, wire: Wire, status: int, found: CheckStatus) -> None:
    smsc.bind_status = status
    checks = await smpp(smsc.port).verify(wire)
    assert {item.name: item.status for check in checks for item in check.assertions}["bind"] is found


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "http://x"},
        {"port": 65536},
        {"systemId": "a" * 16},
        {"systemId": "a b"},
        {"password": "é"},
        {"password": ""},
        {"systemType": "x" * 13},
        {"fromNumber": "A name that is too long"},
        {"fromNumber": "<x>"},
        {"window": 0},
        {"bind": "RECEIVER"},
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        smpp(**{"port": 2775, **changes})


async def test_secrets_and_texts_show_nowhere(smsc: Smsc, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for faults in ([], [0x0B], [DROP], [NONSENSE]):
        smsc.submits = list(faults)
        channel = smpp(smsc.port)
        exchange = Exchange(channel.secrets(), (TEXT,))
        error = None if not faults else await failure(channel, wire, exchange)
        if not faults:
            await channel.send(wire, message(), exchange)
        shown = repr([exchange.record, exchange.stages, channel, channel.model_dump_json(), caplog.text, error])
        assert PASSWORD not in shown and TEXT not in shown
        await channel.close()
    for name, field in Smpp.model_fields.items():
        assert field.title and field.description and field.examples, name
