"""Recipients that are not kept: marks by which they are found again, and that tell nobody who they are.

A mark is an HMAC under a key of the vault. A plain hash would not do: every telephone number there is can be tried in minutes.
It is found for as long as the key it was made with is in the ring.
"""

from __future__ import annotations

import json

from models import optouts
from models.vault import Vault

PURPOSE = "recipient"


def mark(vault: Vault, channel_type: str, recipient: str) -> str:
    """What is kept of a recipient."""
    return vault.sign(PURPOSE, _spelt(channel_type, recipient)).hex()


def marks(vault: Vault, channel_type: str, recipient: str) -> list[str]:
    """What may have been kept of a recipient, by any key of the ring."""
    return [signature.hex() for signature in vault.signatures(PURPOSE, _spelt(channel_type, recipient))]


def _spelt(channel_type: str, recipient: str) -> bytes:
    return json.dumps([channel_type, optouts.key(recipient)]).encode()
