"""What tests of providers are given: a provider that takes every message, a wire to it, an SMSC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from channels.base import Inbound, Report
from channels.smpp import Smpp
from channels.wire import Wire
from tests.channels.smpp_account import smpp
from tests.provider_server import ProviderServer, open_wire
from tests.smsc import Smsc


@pytest.fixture
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[ProviderServer]:
    """Answers as the module's SAMPLE says; where there is none, that nothing works."""
    sample = getattr(request.module, "SAMPLE", None)
    async with ProviderServer(default=sample.accepted if sample is not None else None) as server:
        yield server


@pytest.fixture
def heard() -> list[Report | Inbound]:
    """What came in by the wire."""
    return []


@pytest.fixture
async def wire(heard: list[Report | Inbound]) -> AsyncIterator[Wire]:
    async with open_wire(reports=heard) as opened:
        yield opened


@pytest.fixture
async def smsc() -> AsyncIterator[Smsc]:
    async with Smsc() as opened:
        yield opened


@pytest.fixture
async def channel(smsc: Smsc) -> AsyncIterator[Smpp]:
    made = smpp(smsc.port)
    yield made
    await made.close()
