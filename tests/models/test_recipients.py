from __future__ import annotations

from models import recipients
from models.vault import Vault

OLD, NEW = bytes(32), bytes(range(32))


def test_a_mark_is_found_by_every_key_of_the_ring() -> None:
    before, during, after = Vault({"a": OLD}, "a"), Vault({"b": NEW, "a": OLD}, "b"), Vault({"b": NEW}, "b")
    mark = recipients.mark(before, "EMAIL", "Ada@Example.com")
    assert mark in recipients.marks(before, "EMAIL", "ada@example.com ")
    assert mark in recipients.marks(during, "EMAIL", "ada@example.com")
    assert mark not in recipients.marks(after, "EMAIL", "ada@example.com")
    assert recipients.mark(during, "EMAIL", "ada@example.com") == recipients.mark(after, "EMAIL", "ada@example.com")


def test_a_mark_is_of_one_channel_and_one_recipient() -> None:
    vault = Vault({"a": OLD}, "a")
    marks = {recipients.mark(vault, channel, to) for channel in ("SMS", "WHATSAPP") for to in ("+14155550123", "+14155550124")}
    assert len(marks) == 4 and all(len(mark) == 64 for mark in marks)
