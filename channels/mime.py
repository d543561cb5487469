"""An e-mail as bytes. The standard library's `EmailMessage` parses each header it is given and costs several times as much."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable

LONGEST_LINE = 78

_LINE_END = re.compile(r"\r\n|\r|\n")


def rendered(headers: Iterable[tuple[str, str]], plain: str | None, html: str | None) -> bytes:
    """A mail with one body, or with two of which the reader's program shows the one it prefers. Header values must be fit to
    stand in a header; a text that is plain ASCII in short lines stays as it is."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = head.replace("\r\n", "\n").replace("\n", "\r\n") + "MIME-Version: 1.0\r\n"
    if html is None:
        return head.encode() + _part("plain", plain or "")
    if plain is None:
        return head.encode() + _part("html", html)
    return head.encode() + _alternatives(_part("plain", plain), _part("html", html))


def _alternatives(*parts: bytes) -> bytes:
    boundary = f"=_{secrets.token_hex(16)}"
    head = f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode()
    between = f"--{boundary}\r\n".encode()
    return head + b"".join(between + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def _part(subtype: str, text: str) -> bytes:
    """In 7 bits, which needs no 8BITMIME of the server and survives every relay."""
    text = _LINE_END.sub("\n", text)
    text = text if text.endswith("\n") else text + "\n"
    encoding, content = _encoded(text)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode() + content.replace(b"\n", b"\r\n")


def _encoded(text: str) -> tuple[str, bytes]:
    data = text.encode()
    if text.isascii() and max(map(len, data.split(b"\n"))) <= LONGEST_LINE:
        return "7bit", data
    quoted, packed = binascii.b2a_qp(data, istext=True), base64.encodebytes(data)
    return ("quoted-printable", quoted) if len(quoted) <= len(packed) else ("base64", packed)
