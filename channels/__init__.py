"""How we speak to a provider: the contract and one file per provider. Knows nothing of the database or of GraphQL.

README.md beside this file says how to add a provider.
"""

from collections.abc import Iterable

from channels.base import Provider, ReleaseStatus
from channels.bird import BirdSms
from channels.bird_email import BirdEmail
from channels.bird_platform import BirdPlatform
from channels.bird_whatsapp import BirdWhatsapp
from channels.discord import Discord
from channels.http_api import Http
from channels.instagram import Instagram
from channels.line import Line
from channels.messagebird import MessageBird
from channels.messenger import Messenger
from channels.simulator import Simulator
from channels.slack import Slack
from channels.smpp import Smpp
from channels.smtp import Smtp
from channels.telegram import TelegramBot
from channels.twilio import Twilio
from channels.vonage import Vonage
from channels.whatsapp import WhatsappCloud, WhatsappLine

PROVIDERS: tuple[type[Provider], ...] = (
    Smtp,
    Twilio,
    Vonage,
    Smpp,
    BirdSms,
    BirdEmail,
    BirdWhatsapp,
    BirdPlatform,
    MessageBird,
    WhatsappCloud,
    WhatsappLine,
    TelegramBot,
    Discord,
    Slack,
    Line,
    Messenger,
    Instagram,
    Http,
    Simulator,
)
MATURITY = (ReleaseStatus.INTERNAL, ReleaseStatus.BETA, ReleaseStatus.GA)
BY_REF: dict[str, type[Provider]] = {provider.about.ref: provider for provider in PROVIDERS}


def newest(providers: Iterable[type[Provider]]) -> dict[str, type[Provider]]:
    """By key, the version a new connector has: the newest of those that are the most mature."""

    def standing(provider: type[Provider]) -> tuple[int, int]:
        return MATURITY.index(provider.about.release_status), provider.about.version

    found: dict[str, type[Provider]] = {}
    for provider in providers:
        found[provider.about.key] = max(found.get(provider.about.key, provider), provider, key=standing)
    return found


BY_KEY = newest(PROVIDERS)
