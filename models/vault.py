"""Secrets at rest: AES-256-GCM under a key with a name, so that keys can be changed without downtime.

A sealed secret reads `v1.<key id>.<base64url of nonce, ciphertext and tag>`. The version, the key id and the context it was
sealed for (workspace, table, row, field) are authenticated with it: copied to another row or workspace, it does not open.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
SHORTEST_SIGNATURE = 16
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class SecretError(Exception):
    """A sealed secret does not open. Says why in general; holds neither the secret nor a key."""


class Vault:
    """A ring of 32-byte keys. `primary` seals and signs; every key opens and verifies."""

    def __init__(self, keys: Mapping[str, bytes], primary: str) -> None:
        for kid, key in keys.items():
            _check_key(kid, key)
        if primary not in keys:
            raise ValueError("The primary key is not among the keys.")
        self.primary = primary
        self._keys = dict(keys)
        self._ciphers = {kid: AESGCM(_derive(key, "seal")) for kid, key in keys.items()}
        self._subkeys: dict[tuple[str, str], bytes] = {}

    @classmethod
    def parse(cls, text: str) -> Vault:
        """Read `id:base64key,id2:base64key`; the first is primary. Raises ValueError without any key material."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(text.split(","), start=1):
            kid, key = _parse_entry(number, entry)
            if kid in keys:
                raise ValueError(f"The key id {kid} is there twice.")
            keys[kid] = key
        return cls(keys, next(iter(keys)))

    def __repr__(self) -> str:
        return f"Vault(primary={self.primary!r}, keys={len(self._keys)})"

    def seal(self, plain: str, *context: str) -> str:
        """Encrypt under the primary key, for this context only."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.primary].encrypt(nonce, _encode(plain), _bound(self.primary, context))
        return f"{VERSION}.{self.primary}.{_to_base64(nonce + sealed)}"

    def open(self, token: str, *context: str) -> str:
        """The secret. Raises SecretError when the token was changed, moved, or sealed by a key that is gone."""
        kid, raw = _split(token)
        if kid not in self._ciphers:
            raise SecretError(f"The secret was sealed with the key {kid}, which is not among the keys.")
        try:
            plain = self._ciphers[kid].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(kid, context))
        except (InvalidTag, ValueError):
            raise SecretError("The secret does not open: it was changed, or belongs elsewhere.") from None
        return plain.decode("utf-8", "surrogatepass")

    def rewrap(self, token: str, *context: str) -> str:
        """The same secret under the primary key; the same token if it is already."""
        return token if self.key_id(token) == self.primary else self.seal(self.open(token, *context), *context)

    def key_id(self, token: str) -> str:
        """The id of the key a token was sealed with. Raises SecretError when it is no token."""
        return _split(token)[0]

    def fingerprint(self, plain: str, *context: str) -> str:
        """Eight hexadecimal digits that change with the secret. Store them: they also change with the primary key."""
        return self.sign("fingerprint", _bound(plain, context)).hex()[:8]

    def sign(self, purpose: str, data: bytes) -> bytes:
        """HMAC-SHA256 under a subkey of the primary key made for this purpose. May be cut to 16 bytes or more."""
        return self._mac(self.primary, purpose, data)

    def signatures(self, purpose: str, data: bytes) -> list[bytes]:
        """What `sign` answers or has answered, under every key of the ring."""
        return [self._mac(kid, purpose, data) for kid in self._keys]

    def verify(self, purpose: str, data: bytes, signature: bytes) -> bool:
        """Whether any key of the ring made this signature, so that what was handed out survives a rotation."""
        size = len(signature)
        macs = [mac[:size] for mac in self.signatures(purpose, data)]
        return size >= SHORTEST_SIGNATURE and any([hmac.compare_digest(mac, signature) for mac in macs])

    def _mac(self, kid: str, purpose: str, data: bytes) -> bytes:
        subkey = self._subkeys.get((kid, purpose))
        if subkey is None:
            subkey = self._subkeys[kid, purpose] = _derive(self._keys[kid], f"sign {purpose}")
        return hmac.digest(subkey, data, "sha256")


def _check_key(kid: str, key: bytes) -> None:
    if not _KEY_ID.fullmatch(kid):
        raise ValueError("A key id is 1 to 32 letters, digits, - or _.")
    if len(key) != KEY_BYTES:
        raise ValueError(f"The key {kid} has {len(key)} bytes; it must have {KEY_BYTES}.")


def _parse_entry(number: int, entry: str) -> tuple[str, bytes]:
    kid, colon, encoded = (part.strip() for part in entry.partition(":"))
    if not colon:
        raise ValueError(f"Entry {number} is not of the form id:base64key.")
    if not _KEY_ID.fullmatch(kid):
        raise ValueError(f"The id of entry {number} must be 1 to 32 letters, digits, - or _.")
    try:
        return kid, base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        raise ValueError(f"The key {kid} is not base64.") from None


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"patchbay {VERSION} {purpose}".encode()).derive(key)


def _bound(first: str, context: tuple[str, ...]) -> bytes:
    """An unambiguous encoding: no two different contexts share one."""
    return json.dumps([VERSION, first, *context]).encode()


def _encode(plain: str) -> bytes:
    # An encoding error would carry the secret in its text, so nothing may fail to encode.
    return plain.encode("utf-8", "surrogatepass")


def _split(token: str) -> tuple[str, bytes]:
    version, _, rest = token.partition(".")
    kid, _, encoded = rest.partition(".")
    raw = _from_base64(encoded)
    if version != VERSION or not _KEY_ID.fullmatch(kid) or len(raw) < NONCE_BYTES:
        raise SecretError("This is not a sealed secret.")
    return kid, raw


def _to_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    """Strict: base64 has several spellings of the same bytes, of which only ours is taken. Empty when it is none."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
    return raw if _to_base64(raw) == text else b""
