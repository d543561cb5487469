"""Live providers: one instance per connector and configuration, made when first needed, closed when that changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError

from channels import BY_REF
from channels.base import ChannelType, Inbound, Provider, Report
from channels.egress import Egress
from channels.http import Http
from channels.wire import Wire
from delivery import lines
from delivery.lines import Platform
from delivery.unsubscribing import Links
from models import sealing
from models.connectors import Connector
from models.vault import SecretError, Vault

LIVE = 1_000


class UnusableError(ValueError):
    """A stored configuration that cannot be used any more: its template, its key or its rules have changed."""

    def __init__(self) -> None:
        super().__init__("The connector's configuration cannot be used any more; save it again.")


class Providers:
    """`report` takes a delivery receipt of a connector, or a message to it; `public_url` is where the world reaches us, if it
    does."""

    def __init__(
        self,
        vault: Vault,
        egress: Egress,
        report: Callable[[Connector, Report | Inbound], Awaitable[None]],
        public_url: str | None = None,
        platform: Platform | None = None,
    ) -> None:
        self.platform = platform or Platform()
        self.links = Links(vault, public_url)
        self._vault = vault
        self._egress = egress
        self._report = report
        self._public_url = public_url
        self._live: OrderedDict[str, tuple[int, Provider]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()
        self._http: Http | None = None

    async def start(self) -> None:
        self._http = Http(self._egress)

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
        if connector.channel_type == ChannelType.WHATSAPP and not self.platform.is_enabled:
            raise UnusableError
        try:
            provider = BY_REF[connector.template_ref].model_validate(self._settings(connector))
        except (KeyError, SecretError, ValidationError):
            raise UnusableError from None
        if live is not None:
            self._retire(live[1])
        self._live[connector.id] = (connector.config_revision, provider)
        if len(self._live) > LIVE:
            self._retire(self._live.popitem(last=False)[1][1])
        return provider

    def _settings(self, connector: Connector) -> dict[str, Any]:
        clear = opened(self._vault, connector)
        if connector.template_ref not in lines.REFS:
            return clear
        own = {name: value for name, value in clear.items() if value != ""}
        return {**lines.opened(self._vault, self.platform, connector.line), **own}

    def wire(self, connector: Connector) -> Wire:
        """The means this connector's provider is given."""
        if self._http is None:
            raise RuntimeError("providers are used before they were started")

        async def report(told: Report | Inbound) -> None:
            await self._report(connector, told)

        return Wire(self._http, self._egress, report, self.callback_url(connector))

    def callback_url(self, connector: Connector) -> str | None:
        """Where the connector's provider may call us; None where the world does not reach us, or it has nothing to tell."""
        about = BY_REF[connector.template_ref].about if connector.template_ref in BY_REF else None
        if self._public_url is None or about is None or not about.calls_back:
            return None
        return f"{self._public_url}/v1/hooks/{connector.id}/{connector.hook_key}"

    def _retire(self, provider: Provider) -> None:
        task = asyncio.create_task(provider.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def opened(vault: Vault, connector: Connector) -> dict[str, Any]:
    """A connector's whole configuration, secrets in the clear: for the provider's eyes only."""
    clear = {
        name: vault.open(kept["sealed"], *sealing.of_connector(connector.workspace_id, connector.id, name))
        for name, kept in connector.secrets.items()
    }
    return {**connector.config, **clear}
