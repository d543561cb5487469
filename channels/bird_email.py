"""E-mail through Bird."""

from __future__ import annotations

import html
from typing import Any, ClassVar

from channels import contents
from channels.addresses import one_line, parsed_address
from channels.base import Capabilities, ChannelType, Outbound, ReleaseStatus, Template
from channels.bird_channels import BirdChannel

MAX_TEXT = 100_000


class BirdEmail(BirdChannel):
    about: ClassVar[Template] = Template(
        slug="email-messagebird",
        key="birdEmail",
        channel=ChannelType.EMAIL,
        provider="BIRD",
        title="Bird e-mail",
        documentation_url="https://docs.bird.com/api/channels-api",
        calls_back=True,
        release_status=ReleaseStatus.BETA,
        capabilities=Capabilities(subject=True, inbound=True, delivery_receipts=True, max_text_length=MAX_TEXT),
    )
    identifier_key: ClassVar[str] = "emailaddress"

    def destination(self, to: str) -> str:
        return parsed_address(one_line(to.strip())).normalized

    def check(self, message: Outbound) -> None:
        contents.check_no_template(message)
        if message.media:
            raise contents.refusal("UNSUPPORTED_CONTENT", "This channel sends text and HTML, not files.")
        if not (message.html and message.html.strip()):
            contents.check_presence(message)
        contents.check_text(message.body, MAX_TEXT)
        contents.check_text(message.html, MAX_TEXT, "HTML")

    def content(self, message: Outbound) -> dict[str, Any]:
        shown = message.html or f"<pre>{html.escape(message.body or '')}</pre>"
        told = {"html": shown, "text": message.body or "", "metadata": {"subject": message.subject or ""}}
        return {"body": {"type": "html", "html": told}}
