"""What WhatsApp, Messenger and Instagram have in common: how Meta introduces itself and signs what it tells.

https://developers.facebook.com/docs/graph-api/webhooks/getting-started
"""

from __future__ import annotations

from pydantic import SecretStr

from channels.base import Received
from channels.callbacks import Callback, CallbackRefusedError, Refusal, Reply, require, signed


def authenticate(callback: Callback, app_secret: SecretStr | None, verify_token: SecretStr | None) -> None:
    """GET is the handshake, with our verify token; anything else is signed with the app's secret (X-Hub-Signature-256).
    Raises CallbackRefusedError: NOT_ENABLED without the secret it takes, WRONG_VERIFY_TOKEN, NOT_AUTHENTIC."""
    if callback.method == "GET":
        if not verify_token:
            raise CallbackRefusedError(Refusal.NOT_ENABLED)
        require(verify_token.get_secret_value(), callback.query.get("hub.verify_token"), Refusal.WRONG_VERIFY_TOKEN)
        return
    if not app_secret:
        raise CallbackRefusedError(Refusal.NOT_ENABLED)
    require(f"sha256={signed(app_secret.get_secret_value(), callback.body).hex()}", callback.header("x-hub-signature-256"))


def handshake(callback: Callback) -> Received:
    """The challenge, given back as plain text."""
    challenge = callback.query.get("hub.challenge")
    if callback.query.get("hub.mode") != "subscribe" or challenge is None:
        raise CallbackRefusedError(Refusal.MALFORMED)
    return Received(reply=Reply(200, challenge.encode(), "text/plain; charset=utf-8"))
