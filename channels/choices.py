"""Settings with few values, which say themselves what each means."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Choice(StrEnum):
    """Base of such an enum: `FAST = "FAST", "Quick, and dear."`; its docstring says what is chosen. It has a name of its own
    in the API, so that must be told from others'."""

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        made = str.__new__(cls, value)
        made._value_ = value
        made.description = description
        return made
