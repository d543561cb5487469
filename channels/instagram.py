"""Instagram: a professional account answers people who wrote to it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from channels import contents
from channels.base import Capabilities, ChannelType, Outbound, ReleaseStatus, Template
from channels.meta_messaging import MetaMessaging

MAX_BYTES = 1000


class Instagram(MetaMessaging):
    about: ClassVar[Template] = Template(
        slug="instagram",
        key="instagram",
        channel=ChannelType.INSTAGRAM,
        provider="META",
        title="Instagram",
        documentation_url="https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/messaging-api",
        calls_back=True,
        release_status=ReleaseStatus.BETA,
        capabilities=Capabilities(media=True, inbound=True, read_receipts=True, max_text_length=MAX_BYTES),
    )
    max_text: ClassVar[int] = MAX_BYTES
    whose: ClassVar[str] = "An Instagram"
    about_me: ClassVar[str] = "id,name,username"

    account_id: str = Field(
        title="Account id",
        description="The Instagram account that writes, or the page linked to it where the token is the page's.",
        examples=["17841405822304914"],
        pattern=r"^[0-9]{5,32}$",
    )

    @property
    def identifier(self) -> str | None:
        return self.account_id

    def check(self, message: Outbound) -> None:
        super().check(message)
        if message.body and len(message.body.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise contents.refusal("TEXT_TOO_LONG", f"The text has more than {MAX_BYTES} bytes; this channel carries no more.")
