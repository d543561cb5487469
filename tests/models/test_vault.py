from __future__ import annotations

import base64
import pickle
import re
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vault import SecretError, Vault

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
WHERE = ("wsp_1", "connectors", "con_1", "password")
CANARY = "hunter2-canary"


def make_vault() -> Vault:
    return Vault({"new": NEW, "old": OLD}, "new")


def entry(kid: str, key: bytes) -> str:
    return f"{kid}:{base64.b64encode(key).decode()}"


def everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


@given(plain=st.text(st.characters()), where=st.lists(st.text(), max_size=5))
def test_what_is_sealed_opens_with_the_same_context(plain: str, where: list[str]) -> None:
    vault = make_vault()
    assert vault.open(vault.seal(plain, *where), *where) == plain


def test_token_names_version_and_key_and_hides_the_rest() -> None:
    vault = make_vault()
    token = vault.seal(CANARY, *WHERE)
    version, kid, data = token.split(".")
    assert (version, kid) == ("v1", "new")
    assert len(base64.urlsafe_b64decode(data + "==")) == 12 + len(CANARY) + 16
    assert vault.seal(CANARY, *WHERE) != token


def test_a_lone_surrogate_is_kept_rather_than_reported() -> None:
    vault = make_vault()
    assert vault.open(vault.seal("\ud800" + CANARY)) == "\ud800" + CANARY


def test_every_changed_byte_is_noticed() -> None:
    vault = make_vault()
    token = vault.seal(CANARY, *WHERE)
    for position in range(len(token)):
        for other in "A_9.=é":
            changed = token[:position] + other + token[position + 1 :]
            if changed != token:
                with pytest.raises(SecretError) as caught:
                    vault.open(changed, *WHERE)
                assert CANARY not in everything(caught.value)


def test_every_flipped_bit_is_noticed() -> None:
    vault = make_vault()
    head, data = vault.seal(CANARY, *WHERE).rsplit(".", 1)
    raw = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SecretError):
            vault.open(f"{head}.{base64.urlsafe_b64encode(flipped).decode().rstrip('=')}", *WHERE)


def test_every_shortened_token_is_noticed() -> None:
    vault = make_vault()
    token = vault.seal(CANARY, *WHERE)
    for size in range(len(token)):
        with pytest.raises(SecretError):
            vault.open(token[:size], *WHERE)


@pytest.mark.parametrize(
    "elsewhere",
    [
        ("wsp_2", "connectors", "con_1", "password"),
        ("wsp_1", "webhooks", "con_1", "password"),
        ("wsp_1", "connectors", "con_2", "password"),
        ("wsp_1", "connectors", "con_1", "api_key"),
        ("wsp_1", "connectors", "con_1password"),
        ("wsp_1", "connectors", 'con_1", "password'),
        ("wsp_1", "connectors", "con_1", "password", ""),
        (),
    ],
)
def test_a_ciphertext_copied_elsewhere_does_not_open(elsewhere: tuple[str, ...]) -> None:
    vault = make_vault()
    token = vault.seal(CANARY, *WHERE)
    with pytest.raises(SecretError, match=r"^The secret does not open: it was changed, or belongs elsewhere\.$"):
        vault.open(token, *elsewhere)


def test_renaming_the_key_of_a_token_does_not_help() -> None:
    same = Vault({"a": OLD, "b": OLD}, "a")
    token = same.seal(CANARY, *WHERE)
    with pytest.raises(SecretError, match="does not open"):
        same.open(token.replace("v1.a.", "v1.b."), *WHERE)


def test_rotation() -> None:
    before, during, after = Vault({"old": OLD}, "old"), make_vault(), Vault({"new": NEW}, "new")
    token = before.seal(CANARY, *WHERE)
    assert during.open(token, *WHERE) == CANARY
    moved = during.rewrap(token, *WHERE)
    assert (during.key_id(token), during.key_id(moved)) == ("old", "new")
    assert after.open(moved, *WHERE) == CANARY
    assert during.rewrap(moved, *WHERE) is moved


def test_a_secret_under_a_lost_key_says_which_key() -> None:
    token = Vault({"old": OLD}, "old").seal(CANARY)
    with pytest.raises(SecretError, match=r"^The secret was sealed with the key old, which is not among the keys\.$"):
        Vault({"new": NEW}, "new").open(token)


def test_another_key_of_the_same_name_does_not_open() -> None:
    with pytest.raises(SecretError, match="does not open"):
        Vault({"k": NEW}, "k").open(Vault({"k": OLD}, "k").seal(CANARY))


@pytest.mark.parametrize("token", ["", ".", "..", "v1", "v1.new", "v1.new.", "v2.new.AAAA", "v1..AAAA", "v1.new.AAAA", CANARY])
def test_what_is_no_token_is_refused(token: str) -> None:
    vault = make_vault()
    for refuse in (vault.open, vault.key_id, vault.rewrap):
        with pytest.raises(SecretError, match=r"^This is not a sealed secret\.$") as caught:
            refuse(token)
        assert CANARY not in everything(caught.value)


def test_fingerprint_tells_change_and_place_apart() -> None:
    vault = make_vault()
    mark = vault.fingerprint(CANARY, *WHERE)
    assert len(mark) == 8 and int(mark, 16) >= 0
    assert vault.fingerprint(CANARY, *WHERE) == mark
    others = {
        vault.fingerprint(CANARY + "!", *WHERE),
        vault.fingerprint(CANARY),
        Vault({"new": OLD}, "new").fingerprint(CANARY),
    }
    assert len(others | {mark}) == 4


def test_signatures_hold_for_one_purpose_and_survive_rotation() -> None:
    before, during, after = Vault({"old": OLD}, "old"), make_vault(), Vault({"new": NEW}, "new")
    signature = before.sign("cursor", b"data")
    assert len(signature) == 32
    assert during.verify("cursor", b"data", signature)
    assert during.verify("cursor", b"data", signature[:16])
    assert not during.verify("cursor", b"data", signature[:15])
    assert not during.verify("cursor", b"data", b"")
    assert not during.verify("cursor", b"data", signature + b"\0")
    assert not during.verify("cursor", b"date", signature)
    assert not during.verify("callback", b"data", signature)
    assert not after.verify("cursor", b"data", signature)
    assert during.sign("cursor", b"data") == after.sign("cursor", b"data") != signature


def test_parse_takes_the_first_as_primary() -> None:
    vault = Vault.parse(f" {entry('new', NEW)} , {entry('old', OLD)} ")
    assert repr(vault) == "Vault(primary='new', keys=2)"
    assert vault.open(make_vault().seal(CANARY)) == CANARY


def test_parse_takes_both_base64_alphabets() -> None:
    key = b"\xfb\xff" * 16
    token = Vault({"k": key}, "k").seal(CANARY)
    for encoded in (base64.b64encode(key), base64.urlsafe_b64encode(key)):
        assert Vault.parse(f"k:{encoded.decode()}").open(token) == CANARY


SHORT = base64.b64encode(b"canary-canary").decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Entry 1 is not of the form id:base64key."),
        (SHORT, "Entry 1 is not of the form id:base64key."),
        (entry("a", NEW) + ",", "Entry 2 is not of the form id:base64key."),
        (":" + SHORT, "The id of entry 1 must be 1 to 32 letters, digits, - or _."),
        (f"{SHORT}:x", "The id of entry 1 must be 1 to 32 letters, digits, - or _."),
        (f"a.b:{SHORT}", "The id of entry 1 must be 1 to 32 letters, digits, - or _."),
        (f"a:{SHORT}", "The key a has 13 bytes; it must have 32."),
        (f"a:{SHORT}!", "The key a is not base64."),
        (f"a:é{SHORT}", "The key a is not base64."),
        (f"{entry('a', NEW)},{entry('a', OLD)}", "The key id a is there twice."),
    ],
)
def test_bad_keys_are_refused_without_showing_them(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$") as caught:
        Vault.parse(text)
    assert SHORT not in everything(caught.value)


def test_constructor_refuses_a_primary_it_does_not_hold() -> None:
    with pytest.raises(ValueError, match=r"^The primary key is not among the keys\.$"):
        Vault({"a": NEW}, "b")


def test_nothing_shows_the_keys() -> None:
    vault = make_vault()
    vault.sign("cursor", b"")
    assert repr(vault) == str(vault) == f"{vault}" == "Vault(primary='new', keys=2)"
    with pytest.raises(TypeError):
        pickle.dumps(vault)
