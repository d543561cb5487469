"""The WhatsApp line an organization keeps for all its connectors: a number and a token, each the platform's where the
organization has none of its own. A connector carries a sealed copy, so that whoever sends needs nothing but the connector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from channels import BY_REF
from channels.whatsapp import WhatsappLine
from models import sealing
from models.base import JsonObject
from models.vault import Vault
from models.workspaces import Organization

REFS = frozenset(ref for ref, provider in BY_REF.items() if provider.about.slug == WhatsappLine.about.slug)


@dataclass(frozen=True, slots=True)
class Platform:
    """What the installation has for organizations without a line of their own. `owners` says which organization a number is
    reserved for."""

    phone_number_id: str | None = None
    access_token: str | None = field(default=None, repr=False)
    owners: Mapping[str, str] = field(default_factory=dict)
    is_enabled: bool = True

    @property
    def is_complete(self) -> bool:
        return self.phone_number_id is not None and self.access_token is not None

    def is_taken(self, phone_number_id: str, organization_id: str) -> bool:
        """The number is the platform's, or reserved for another organization."""
        owner = self.owners.get(phone_number_id)
        return owner != organization_id if owner is not None else phone_number_id == self.phone_number_id

    def identifier(self, organization: Organization) -> str | None:
        """The number by which callbacks find the organization: its own. The platform's is shared, unless it is reserved."""
        shared = self.phone_number_id
        mine = shared if shared is not None and self.owners.get(shared) == organization.id else None
        return organization.whatsapp_phone_number_id or mine


def stored(organization: Organization) -> JsonObject:
    """What a connector carries of its organization's line."""
    return {
        "organization_id": organization.id,
        "phone_number_id": organization.whatsapp_phone_number_id,
        "access_token": organization.whatsapp_access_token,
    }


def opened(vault: Vault, platform: Platform, line: JsonObject | None) -> dict[str, str]:
    """The line's values in the clear. A number of the organization's may be the platform's to send with; the organization's
    token is good for its own number alone."""
    number, token = platform.phone_number_id, platform.access_token
    if line is not None and line["phone_number_id"] is not None:
        number, own = line["phone_number_id"], line["access_token"]
        token = vault.open(own, *sealing.of_line(line["organization_id"])) if own is not None else token
    return {name: value for name, value in (("phoneNumberId", number), ("accessToken", token)) if value is not None}
