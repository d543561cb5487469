"""Clients who do not give up, a provider who counts, and what must be true after whatever happened between them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
from sqlalchemy import select

from models.messages import Message
from tests.harness import Gateway, Json, eventually
from tests.lab import SENDER, approve
from tests.provider_server import ProviderServer, Reply
from tests.sending import SEND, plug

ACCEPTED = Reply(201, {"sid": "SM0", "status": "queued", "num_segments": "1"})
FINAL = {"SENT", "DELIVERED", "FAILED", "UNKNOWN", "EXPIRED"}
TWILIO = {
    "accountSid": "AC00000000000000000000000000000000",
    "apiKeySid": "SK00000000000000000000000000000000",
    "apiKeySecret": "secret",
    "fromNumber": "+15005550006",
}


@dataclass
class Load:
    """Messages that were answered with an id, by the text that tells them apart at the provider."""

    gateway: Gateway
    connector_id: str
    accepted: dict[str, str] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)

    async def send(self, text: str) -> None:
        """Until it is accepted, as a client with an idempotency key would."""
        given = {"to": "+447700900123", "connectorId": self.connector_id, "senderId": SENDER}
        draft = {**given, "body": text, "idempotencyKey": text}
        async with asyncio.timeout(60):
            while text not in self.accepted:
                try:
                    answer = await self.gateway.post(SEND, {"input": draft})
                except (aiohttp.ClientError, TimeoutError):
                    self.refusals["connection"] += 1
                    answer = {}
                self._note(text, answer)

    def _note(self, text: str, answer: Json) -> None:
        payload = (answer.get("data") or {}).get("messageSend")
        if payload is not None and payload["message"] is not None:
            self.accepted[text] = payload["message"]["id"]
        for error in answer.get("errors", ()):
            self.refusals[error["extensions"]["code"]] += 1

    async def clients(self, number: int, each: int, pause: float = 0.01) -> None:
        async def client(name: int) -> None:
            for i in range(each):
                await self.send(f"message {name}-{i}")
                await asyncio.sleep(pause)

        await asyncio.gather(*(client(name) for name in range(number)))

    async def statuses(self) -> Counter[str]:
        """Where the accepted messages stand, once all of them have come to rest."""

        async def at_rest() -> Counter[str] | None:
            async with self.gateway.read() as session:
                found = await session.execute(select(Message.id, Message.status))
            standing = {message_id: status for message_id, status in found}
            assert set(self.accepted.values()) == set(standing), "an accepted message is lost, or one was accepted twice"
            return Counter(standing.values()) if set(standing.values()) <= FINAL else None

        return await eventually(at_rest, 60)


def handed_over(provider: ProviderServer) -> Counter[str]:
    """How often the provider was given each text."""
    texts: Counter[str] = Counter()
    for request in provider.requests:
        if request.method == "POST":
            texts[dict(request.form())["Body"]] += 1
    return texts


async def plugged(gateway: Gateway, provider: ProviderServer) -> Load:
    """A load on a connector to this provider."""
    await approve(gateway)
    connector = await plug(gateway, "twilio", config={"twilio": {**TWILIO, "baseUrl": provider.url}})
    return Load(gateway, connector["id"])
