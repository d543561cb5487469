"""SMS through Bird."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from channels import contents
from channels.answers import Verdict
from channels.base import Capabilities, ChannelType, Outbound, ReleaseStatus, Template, TrafficType
from channels.bird_channels import BirdChannel, Uuid
from channels.bird_codes import NETWORK
from channels.phone import e164

MAX_TEXT = 1600


class BirdSms(BirdChannel):
    about: ClassVar[Template] = Template(
        slug="sms-messagebird",
        key="bird",
        channel=ChannelType.SMS,
        provider="BIRD",
        title="Bird SMS",
        documentation_url="https://docs.bird.com/api/channels-api",
        calls_back=True,
        release_status=ReleaseStatus.BETA,
        capabilities=Capabilities(inbound=True, delivery_receipts=True, max_text_length=MAX_TEXT),
    )
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"tenDlc": {"const": True}}, "required": ["tenDlc"]},
            "then": {"properties": {"useCaseId": {"type": "string"}}, "required": ["useCaseId"]},
        }
    )
    identifier_key: ClassVar[str] = "phonenumber"
    sources: ClassVar[Mapping[str, Verdict]] = NETWORK

    channel_message_type: TrafficType = Field(
        title="Message type", description="What the number is registered to carry.", examples=["TRANSACTIONAL"]
    )
    phone_number_id: Uuid | None = Field(
        None,
        title="Phone number id",
        description="The number behind the channel, for your own records.",
        examples=["2cffb55c-0000-4000-8000-000000000000"],
    )
    ten_dlc: bool = Field(
        False,
        title="10DLC",
        description="The number is a ten-digit long code of the United States; then the use case is required.",
        examples=[False],
    )
    use_case_id: Uuid | None = Field(
        None,
        title="Use case id",
        description="The registered use case of the number; required for 10DLC numbers.",
        examples=["be123b02-0000-4000-8000-000000000000"],
    )

    @field_validator("channel_message_type", mode="before")
    @classmethod
    def _as_bird_writes_it(cls, value: object) -> object:
        """`promotional`, `2fa` and the like are understood too."""
        return {"2FA": "TWO_FACTOR"}.get(value.upper(), value.upper()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_a_use_case(self) -> Self:
        if self.ten_dlc and self.use_case_id is None:
            raise ValueError("useCaseId is required for 10DLC numbers")
        return self

    @property
    def traffic(self) -> TrafficType:
        return self.channel_message_type

    def destination(self, to: str) -> str:
        return e164(to)

    def check(self, message: Outbound) -> None:
        contents.check_text_only(message, MAX_TEXT)

    def content(self, message: Outbound) -> dict[str, Any]:
        return {"body": {"type": "text", "text": {"text": message.body}}}
