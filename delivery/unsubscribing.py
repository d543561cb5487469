"""The link in a bulk mail with which its reader wants no more of them, in one click (RFC 2369, RFC 8058).

Whom it stands for is sealed in it, so that it tells nothing to who sees it and nobody can make one for somebody else. It holds
for as long as the key it was sealed with is in the ring.
"""

from __future__ import annotations

import json

from channels.base import ChannelType
from delivery import optouts
from delivery.optouts import Wish
from models.optouts import OptOutSource
from models.underway import Sendable
from models.vault import SecretError, Vault

PATH = "/v1/unsubscribe"
_CONTEXT = "unsubscribe"


class Links:
    """Links begin with `public_url`; without one, or where it is not https, which RFC 8058 demands, there are none."""

    def __init__(self, vault: Vault, public_url: str | None) -> None:
        self._vault = vault
        self._base = f"{public_url}{PATH}" if public_url is not None and public_url.startswith("https://") else None

    def of(self, message: Sendable) -> str | None:
        """The link a message carries: a bulk mail that an opt-out would stop."""
        if message.priority != "BULK" or message.channel_type != ChannelType.EMAIL or not optouts.stops(message.flow):
            return None
        if self._base is None:
            return None
        whom = json.dumps([message.workspace_id, message.channel_type, message.to], ensure_ascii=False)
        return f"{self._base}/{self._vault.seal(whom, _CONTEXT)}"

    def wish(self, token: str) -> Wish | None:
        """What is wanted by who follows the link that ends with this; None when we never made it."""
        try:
            whom = self._vault.open(token, _CONTEXT)
        except SecretError:
            return None
        workspace_id, channel_type, recipient = json.loads(whom)
        return Wish(workspace_id, channel_type, recipient, OptOutSource.UNSUBSCRIBE)
