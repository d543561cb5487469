"""WhatsApp through Bird: text, one file, or a template kept in Bird's Studio and approved by Meta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from channels import contents
from channels.answers import Verdict
from channels.base import Capabilities, ChannelType, Outbound, ReleaseStatus, Template
from channels.bird_channels import BirdChannel, Uuid
from channels.phone import e164_or_digits
from channels.templates import check_template
from channels.whatsapp_codes import CODES

MAX_TEXT = 4096
MAX_CAPTION = 1024
IMAGES = ("image/jpeg", "image/png")


class Parameter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["string"] = "string"
    key: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    value: str


class StudioTemplate(BaseModel):
    """A template by the project it is kept in; `version` is one of the project's, or `latest`.
    https://docs.bird.com/api/channels-api/message-types/template"""

    model_config = ConfigDict(extra="forbid")

    projectId: Uuid
    version: Uuid | Literal["latest"] = "latest"
    locale: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")]
    parameters: Annotated[list[Parameter], Field(max_length=100)] = []


class BirdWhatsapp(BirdChannel):
    about: ClassVar[Template] = Template(
        slug="whatsapp-messagebird",
        key="birdWhatsapp",
        channel=ChannelType.WHATSAPP,
        provider="BIRD",
        title="Bird WhatsApp",
        documentation_url="https://docs.bird.com/api/channels-api/supported-channels/programmable-whatsapp",
        calls_back=True,
        release_status=ReleaseStatus.BETA,
        capabilities=Capabilities(media=True, templates=True, inbound=True, delivery_receipts=True, max_text_length=MAX_TEXT),
    )
    identifier_key: ClassVar[str] = "phonenumber"
    sources: ClassVar[Mapping[str, Verdict]] = {str(code): verdict for code, verdict in CODES.items()}

    def destination(self, to: str) -> str:
        return e164_or_digits(to)

    def check(self, message: Outbound) -> None:
        if message.template is not None:
            if message.media:
                raise contents.refusal("UNSUPPORTED_CONTENT", "A template holds its files itself, not beside itself.")
            check_template(message.template, StudioTemplate)
            return
        contents.check_presence(message)
        contents.check_media(message.media, 1)
        name, limit = ("caption", MAX_CAPTION) if message.media else ("text", MAX_TEXT)
        contents.check_text(message.body, limit, name)
        if message.media and message.body and contents.content_type(message.media[0]).startswith("audio/"):
            raise contents.refusal("UNSUPPORTED_CONTENT", "WhatsApp carries no caption with a sound file.")

    def content(self, message: Outbound) -> dict[str, Any]:
        if message.template is not None:
            return {"template": StudioTemplate.model_validate(message.template).model_dump()}
        if not message.media:
            return {"body": {"type": "text", "text": {"text": message.body}}}
        media = message.media[0]
        kind = contents.content_type(media)
        caption = {"text": message.body} if message.body else {}
        if kind in IMAGES:
            return {"body": {"type": "image", "image": {"images": [{"mediaUrl": media.url}], **caption}}}
        named = {"filename": media.filename} if media.filename else {}
        file = {"mediaUrl": media.url, "contentType": kind or "application/octet-stream", **named}
        return {"body": {"type": "file", "file": {"files": [file], **caption}}}
