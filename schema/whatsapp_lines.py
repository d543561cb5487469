"""The WhatsApp line of the viewer's organization."""

from __future__ import annotations

from typing import Annotated

import strawberry

from resolvers import whatsapp_lines as use_cases
from schema.base import THE_INPUT, UserError, answering, no_errors
from schema.context import Info


@strawberry.type(
    description="The number and token with which connectors of the template `whatsapp-line:1` send, for every workspace of the "
    "organization."
)
class WhatsappCloudLine:
    whatsapp_phone_number_id: str | None = strawberry.field(description="The organization's own number, by Meta's ID.")
    uses_platform_default: bool = strawberry.field(description="It has none of its own: the platform's is used.")
    platform_line_configured: bool = strawberry.field(description="The platform has a number and a token.")
    has_access_token: bool = strawberry.field(description="The organization has a token of its own; it is never shown.")


@strawberry.input(description="A change of the line. At least one field; what is left out stays, null clears.")
class WhatsappCloudLineUpdateInput:
    whatsapp_phone_number_id: strawberry.Maybe[str | None] = strawberry.field(
        default=None, description="Meta's ID of the number."
    )
    whatsapp_access_token: strawberry.Maybe[str | None] = strawberry.field(
        default=None, description="A system user's token; kept sealed."
    )


@strawberry.type(description="What came of `whatsappCloudLineUpdate`.")
class WhatsappCloudLineUpdatePayload:
    line: WhatsappCloudLine | None = strawberry.field(default=None, description="The line as it is now.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class WhatsappLineMutations:
    @strawberry.mutation(
        description="Set or clear the organization's WhatsApp number and token; connectors that use the line are checked anew. "
        "Needs `members:write` and a session."
    )
    @answering(lambda errors: WhatsappCloudLineUpdatePayload(user_errors=errors))
    async def whatsapp_cloud_line_update(
        self, info: Info, input: Annotated[WhatsappCloudLineUpdateInput, THE_INPUT]
    ) -> WhatsappCloudLineUpdatePayload | None:
        fields = {
            "whatsapp_phone_number_id": input.whatsapp_phone_number_id,
            "whatsapp_access_token": input.whatsapp_access_token,
        }
        given = {name: some.value for name, some in fields.items() if some is not None}
        line = await use_cases.update(info.context.call, given)
        return WhatsappCloudLineUpdatePayload(line=line)  # type: ignore[arg-type]
