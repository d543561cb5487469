"""What a provider's tests say of it, so that the contract every provider keeps can be tested for it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from channels import PROVIDERS
from channels.base import Provider
from tests.provider_server import Reply


@dataclass(frozen=True)
class Recorded:
    """The calls recorded of this vendor are those under `name`, to a connector with these settings. `signer` is the name of the
    vendor's signature vectors, and `secret` the setting they are checked with."""

    name: str
    config: Mapping[str, Any]
    signer: str = ""
    secret: str = ""


@dataclass(frozen=True)
class Sample:
    """`make` builds the provider for a server at a base URL, with the secrets listed; `accepted` is what the server answers to
    a message it takes. `limit` is the longest text in characters."""

    make: Callable[[str], Provider]
    secrets: tuple[str, ...]
    to: str
    accepted: Reply
    limit: int
    recorded: Recorded | None = None


def samples() -> dict[str, Sample]:
    """By template, of every provider that speaks HTTP: `SAMPLE` of its test module."""
    found: dict[str, Sample] = {}
    for provider in PROVIDERS:
        tests = import_module(f"tests.channels.test_{provider.__module__.rpartition('.')[2]}")
        sample: Any = getattr(tests, "SAMPLE", None)
        if sample is not None:
            found[provider.about.ref] = sample
    return found
