"""The WhatsApp line of the viewer's organization: seen and set in person, used by its connectors of `whatsapp-line:1`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from delivery import checks, lines
from models import connectors, sealing, workspaces
from models.workspaces import Organization
from resolvers import audit
from resolvers.audit import Masked
from resolvers.call import Call
from resolvers.problems import Problem, UserErrorCode

READ, WRITE = "members:read", "members:write"
LONGEST_TOKEN = 4_096
_NUMBER = re.compile(r"[0-9]{1,32}")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Line:
    """What may be shown of a line. Its token is not."""

    whatsapp_phone_number_id: str | None
    has_access_token: bool
    platform_line_configured: bool

    @property
    def uses_platform_default(self) -> bool:
        return self.whatsapp_phone_number_id is None


def _shown(call: Call, organization: Organization) -> Line:
    has_token = organization.whatsapp_access_token is not None
    return Line(organization.whatsapp_phone_number_id, has_token, call.means.providers.platform.is_complete)


async def get(call: Call) -> Line:
    call.require(READ)
    call.require_session()
    async with call.read() as session:
        return _shown(call, await _organization(session, call))


async def update(call: Call, given: Mapping[str, str | None]) -> Line:
    """Set or, with None, clear `whatsapp_phone_number_id` and `whatsapp_access_token`. Raises
    WHATSAPP_PHONE_NUMBER_ID_IN_USE for a number of another organization, and tells nothing of it."""
    call.require(WRITE)
    call.require_session()
    _check(call, given)
    try:
        async with call.write() as session:
            organization = await _change(session, call, given)
    except IntegrityError:
        raise _taken() from None
    call.means.bell.ring(checks.HINT)
    return _shown(call, organization)


def _check(call: Call, given: Mapping[str, str | None]) -> None:
    if not given:
        raise Problem(UserErrorCode.VALIDATION_ERROR, "Give at least one field to change.", ["input"])
    number, token = given.get("whatsapp_phone_number_id"), given.get("whatsapp_access_token")
    if number is not None and not _NUMBER.fullmatch(number):
        raise _invalid("whatsappPhoneNumberId", "whatsappPhoneNumberId is Meta's ID of the number: 1 to 32 digits.")
    if token is not None and not (len(token) <= LONGEST_TOKEN and _TOKEN.fullmatch(token)):
        message = f"whatsappAccessToken is one word of printable ASCII characters, {LONGEST_TOKEN} at most."
        raise _invalid("whatsappAccessToken", message)
    if number is not None and call.means.providers.platform.is_taken(number, call.viewer.organization_id):
        raise _taken()


def _invalid(name: str, message: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", name])


def _taken() -> Problem:
    message = "This phone number id is in use."
    return Problem(UserErrorCode.WHATSAPP_PHONE_NUMBER_ID_IN_USE, message, ["input", "whatsappPhoneNumberId"])


async def _change(session: AsyncSession, call: Call, given: Mapping[str, str | None]) -> Organization:
    organization = await _organization(session, call)
    before, values = _audited(call, organization), dict[str, Any](given)
    if (token := given.get("whatsapp_access_token")) is not None:
        values["whatsapp_access_token"] = call.means.vault.seal(token, *sealing.of_line(organization.id))
    changed = await workspaces.change_organization(session, organization.id, values)
    identifier = call.means.providers.platform.identifier(changed)
    await connectors.set_line(session, organization.id, lines.REFS, lines.stored(changed), identifier)
    audit.record(call, session, "whatsappCloudLineUpdate", organization.id, before, _audited(call, changed))
    return changed


def _audited(call: Call, organization: Organization) -> dict[str, Any]:
    token = organization.whatsapp_access_token
    masked = Masked(token) if token is not None else None
    return {"whatsappPhoneNumberId": organization.whatsapp_phone_number_id, "whatsappAccessToken": masked}


async def _organization(session: AsyncSession, call: Call) -> Organization:
    found = await workspaces.organization(session, call.viewer.organization_id)
    if found is None:
        raise LookupError(f"the viewer's organization {call.viewer.organization_id} is gone")
    return found
