"""What a text would cost to send."""

from __future__ import annotations

from typing import Annotated

import strawberry

from channels.base import ChannelType
from channels.sms_text import TextEncoding
from resolvers import estimates as use_cases
from schema.context import Info


@strawberry.type(description="How a text would travel.")
class MessageEstimate:
    encoding: TextEncoding = strawberry.field(description="How it would be written.")
    characters: int = strawberry.field(description="Its characters (Unicode code points). In an SMS some take the room of two.")
    segments: int = strawberry.field(description="Parts it would be sent and billed in.")
    offending_characters: list[str] = strawberry.field(
        description="What keeps an SMS from GSM7: each character once, in order of appearance, the first 100."
    )
    gsm_safe_body: str | None = strawberry.field(
        description="The text with plain quotes, dashes and spaces; null where it is GSM7 already or that would not make it so."
    )


@strawberry.input(description="A text to look at.")
class MessageEstimateInput:
    body: str = strawberry.field(description="The text.")
    channel: ChannelType = strawberry.field(default=ChannelType.SMS, description="The channel it would go through.")


@strawberry.type
class EstimateQueries:
    @strawberry.field(description="How a text would travel; nothing is sent. Needs no scope.")
    def message_estimate(
        self, info: Info, input: Annotated[MessageEstimateInput, strawberry.argument(description="The text.")]
    ) -> MessageEstimate | None:
        return use_cases.of(input.body, input.channel)  # type: ignore[return-value]
