"""Live providers: one instance per connector and configuration, made when first needed, closed when that changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from pydantic import ValidationError

from channels import BY_REF
from channels.base import Provider, Report
from channels.egress import Egress
from channels.wire import Wire, make_session
from models.connectors import Connector
from models.vault import SecretError, Vault

LIVE = 1_000


class UnusableError(ValueError):
    """A stored configuration that cannot be used any more: its template, its key or its rules have changed."""

    def __init__(self) -> None:
        super().__init__("The connector's configuration cannot be used any more; save it again.")


class Providers:
    """`report` takes a delivery receipt of a connector."""

    def __init__(self, vault: Vault, egress: Egress, report: Callable[[Connector, Report], Awaitable[None]]) -> None:
        self._vault = vault
        self._egress = egress
        self._report = report
        self._live: OrderedDict[str, tuple[int, Provider]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._http = make_session(self._egress)

    async def close(self) -> None:
        for _revision, provider in self._live.values():
            self._retire(provider)
        self._live.clear()
        if self._closing:
            await asyncio.wait(self._closing, timeout=5)
        if self._http is not None:
            await self._http.close()

    def of(self, connector: Connector) -> Provider:
        """The provider as this connector configures it. Raises UnusableError."""
        live = self._live.get(connector.id)
        if live is not None and live[0] == connector.config_revision:
            self._live.move_to_end(connector.id)
            return live[1]
        try:
            provider = BY_REF[connector.template_ref].model_validate(opened(self._vault, connector))
        except (KeyError, SecretError, ValidationError):
            raise UnusableError from None
        if live is not None:
            self._retire(live[1])
        self._live[connector.id] = (connector.config_revision, provider)
        if len(self._live) > LIVE:
            self._retire(self._live.popitem(last=False)[1][1])
        return provider

    def wire(self, connector: Connector) -> Wire:
        """The means this connector's provider is given."""
        if self._http is None:
            raise RuntimeError("providers are used before they were started")

        async def report(receipt: Report) -> None:
            await self._report(connector, receipt)

        return Wire(self._http, self._egress, report)

    def _retire(self, provider: Provider) -> None:
        task = asyncio.create_task(provider.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def opened(vault: Vault, connector: Connector) -> dict[str, Any]:
    """A connector's whole configuration, secrets in the clear: for the provider's eyes only."""
    clear = {
        name: vault.open(kept["sealed"], *sealing_context(connector.workspace_id, connector.id, name))
        for name, kept in connector.secrets.items()
    }
    return {**connector.config, **clear}


def sealing_context(workspace_id: str, connector_id: str, field: str) -> tuple[str, str, str, str]:
    """What a sealed secret is bound to: copied to another row or field it does not open."""
    return workspace_id, "connector", connector_id, field
