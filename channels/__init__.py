"""How we speak to a provider: the contract and one file per provider. Knows nothing of the database or of GraphQL.

To add a provider: write `channels/<provider>.py`, name its class here, record its payloads under `tests/channels/`.
"""

from channels.base import Provider
from channels.simulator import Simulator
from channels.smtp import Smtp
from channels.telegram import TelegramBot
from channels.twilio import Twilio
from channels.whatsapp import WhatsappCloud

PROVIDERS: tuple[type[Provider], ...] = (Smtp, Twilio, WhatsappCloud, TelegramBot, Simulator)
BY_REF: dict[str, type[Provider]] = {provider.about.ref: provider for provider in PROVIDERS}
BY_KEY: dict[str, type[Provider]] = {provider.about.key: provider for provider in PROVIDERS}
