"""What every text channel refuses before anything is stored or sent."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence

from yarl import URL

from channels.base import Media, Outbound
from channels.errors import FailureKind, SendError
from channels.wire import checked_url

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def refusal(code: str, message: str) -> SendError:
    """A SendError of kind CONTENT."""
    return SendError(FailureKind.CONTENT, code, message)


def check_no_template(message: Outbound) -> None:
    """For channels that know no templates."""
    if message.template is not None:
        raise refusal("UNSUPPORTED_CONTENT", "This channel sends text and files, not templates.")


def check_presence(message: Outbound) -> None:
    """A message has a text or a file."""
    if not (message.body and message.body.strip()) and not message.media:
        raise refusal("EMPTY_MESSAGE", "The message has neither a text nor a file.")


def check_text_only(message: Outbound, limit: int) -> None:
    """For channels that carry a text of at most `limit` characters, and nothing else."""
    check_no_template(message)
    if message.media:
        raise refusal("UNSUPPORTED_CONTENT", "This channel sends text, not files.")
    check_presence(message)
    check_text(message.body, limit)


def check_text(text: str | None, limit: int, name: str = "text") -> None:
    """`limit` is in characters, as the provider counts them."""
    if text is None:
        return
    if len(text) > limit:
        raise refusal("TEXT_TOO_LONG", f"The {name} has {len(text)} characters; this channel carries at most {limit}.")
    if _NO_TEXT.search(text):
        raise refusal("INVALID_TEXT", f"The {name} holds characters that are not text.")


def check_media(media: Sequence[Media], limit: int) -> None:
    """At most `limit` files, each at an address a provider can fetch."""
    if len(media) > limit:
        raise refusal("TOO_MANY_MEDIA", f"The message has {len(media)} files; this channel carries at most {limit}.")
    for item in media:
        try:
            checked_url(item.url)
        except ValueError as error:
            raise refusal("INVALID_MEDIA_URL", f"The address of a file {_reason(error)}.") from None


def content_type(media: Media) -> str:
    """What a file is, in small letters: as it was said, or as the end of its address tells; empty where neither does."""
    known = media.content_type or mimetypes.guess_type(URL(media.url).path)[0] or ""
    return known.partition(";")[0].strip().lower()


def _reason(error: ValueError) -> str:
    return str(error) if str(error).startswith("must") else "is not a URL"
