"""The id that joins a request, its answer and every line logged for it."""

from __future__ import annotations

import re
import secrets

_SANE = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")


def request_id(offered: str | None) -> str:
    """The caller's own id where it is harmless, else a new one."""
    return offered if offered and _SANE.fullmatch(offered) else secrets.token_hex(16)
