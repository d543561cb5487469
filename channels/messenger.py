"""Facebook Messenger: a page answers people who wrote to it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from channels.base import Capabilities, ChannelType, Outbound, ReleaseStatus, Template
from channels.meta_messaging import MetaMessaging


class Messenger(MetaMessaging):
    about: ClassVar[Template] = Template(
        slug="facebook",
        key="messenger",
        channel=ChannelType.FACEBOOK,
        provider="META",
        title="Facebook Messenger",
        documentation_url="https://developers.facebook.com/docs/messenger-platform/send-messages",
        calls_back=True,
        release_status=ReleaseStatus.BETA,
        capabilities=Capabilities(media=True, inbound=True, delivery_receipts=True, read_receipts=True, max_text_length=2000),
    )
    max_text: ClassVar[int] = 2000
    whose: ClassVar[str] = "A Messenger"

    page_id: str = Field(
        title="Page id", description="The Facebook page that writes.", examples=["1353269864728879"], pattern=r"^[0-9]{5,32}$"
    )
    human_agent: bool = Field(
        False,
        title="Human agent",
        description="People answer through this connector: messages carry the tag HUMAN_AGENT, good for seven days instead of "
        "24 hours. The app must have been granted it.",
        examples=[False],
    )

    @property
    def identifier(self) -> str | None:
        return self.page_id

    def content(self, message: Outbound) -> dict[str, Any]:
        kind = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"} if self.human_agent else {"messaging_type": "RESPONSE"}
        return {**super().content(message), **kind}
