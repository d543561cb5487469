"""The shapes settings may have, beside plain text and numbers. What does not fit raises ValueError with the rule alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr, StringConstraints
from pydantic_settings import NoDecode

from models.vault import Vault
from resolvers.windows import Rate

SHORTEST_JWT_SECRET = 32
SHORTEST_TOKEN = 16
_BUSES = ("memory", "redis", "rediss")


def _check_token(value: SecretStr) -> SecretStr:
    if not _is_token(value.get_secret_value()):
        raise ValueError(f"must have {SHORTEST_TOKEN} ASCII characters or more")
    return value


def _check_tokens(value: SecretStr) -> SecretStr:
    if not all(map(_is_token, words(value))):
        raise ValueError(f"must be separated by commas and have {SHORTEST_TOKEN} ASCII characters or more each")
    return value


def _is_token(text: str) -> bool:
    return text.isascii() and len(text) >= SHORTEST_TOKEN


def words(value: SecretStr | None) -> tuple[str, ...]:
    """The secrets in a list of them."""
    return tuple(word.strip() for word in value.get_secret_value().split(",")) if value is not None else ()


def _check_jwt_secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode("utf-8", "surrogatepass")) < SHORTEST_JWT_SECRET:
        raise ValueError(f"must have {SHORTEST_JWT_SECRET} bytes or more")
    return value


def _check_keys(value: SecretStr) -> SecretStr:
    Vault.parse(value.get_secret_value())
    return value


def _check_bus(value: str) -> str:
    if not value.startswith(tuple(f"{bus}://" for bus in _BUSES)):
        raise ValueError("must begin with memory://, redis:// or rediss://")
    return value


Words = Annotated[tuple[str, ...], NoDecode]
Pairs = Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}=org_[0-9a-f]{32}$")], ...], NoDecode]
RateText = Annotated[Rate, NoDecode, BeforeValidator(lambda value: Rate.parse(str(value))), PlainSerializer(str)]
Token = Annotated[SecretStr, AfterValidator(_check_token)]
Tokens = Annotated[SecretStr, AfterValidator(_check_tokens)]
JwtSecret = Annotated[SecretStr, AfterValidator(_check_jwt_secret)]
KeyList = Annotated[SecretStr, AfterValidator(_check_keys)]
BusUrl = Annotated[str, AfterValidator(_check_bus)]
