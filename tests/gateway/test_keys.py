from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from gateway import keys
from gateway.addresses import ROOT
from gateway.settings import Settings, SettingsError
from models.vault import Vault

CANARY = "hunter2-canary"
KEY = base64.b64encode(bytes(range(32))).decode()
SECRET = "a-secret-of-thirty-two-bytes-or-more"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("PATCHBAY_"):
            monkeypatch.delenv(name)


def at(data_dir: Path, **values: object) -> Settings:
    return Settings(data_dir=data_dir, **values)  # type: ignore[arg-type]


def secrets_of(settings: Settings) -> tuple[str, str]:
    assert settings.secret_keys is not None and settings.jwt_secret is not None
    return settings.secret_keys.get_secret_value(), settings.jwt_secret.get_secret_value()


def key_refusal(settings: Settings) -> str:
    with pytest.raises(SettingsError) as caught:
        keys.provide(settings)
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown and KEY not in shown
    return str(caught.value)


def test_first_start_writes_a_private_key_file_and_later_starts_read_it(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "data"
    first, created = keys.provide(at(home))
    assert created == home / "patchbay.keys"
    assert stat.S_IMODE(created.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [path.name for path in home.iterdir()] == ["patchbay.keys"]
    (home / "patchbay.db").write_text("a database")
    second, created_again = keys.provide(at(home))
    assert created_again is None
    assert secrets_of(second) == secrets_of(first)
    vault = Vault.parse(secrets_of(first)[0])
    assert vault.open(vault.seal("x")) == "x"
    assert len(secrets_of(first)[1]) == 64


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    one, _ = keys.provide(at(tmp_path / "one"))
    two, _ = keys.provide(at(tmp_path / "two"))
    assert not set(secrets_of(one)) & set(secrets_of(two))


def test_a_loose_umask_does_not_open_the_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        _, created = keys.provide(at(tmp_path / "data"))
    finally:
        os.umask(before)
    assert created is not None and stat.S_IMODE(created.stat().st_mode) == 0o600


def test_given_keys_need_no_file(tmp_path: Path) -> None:
    settings = at(tmp_path / "data", secret_keys=f"k1:{KEY}", jwt_secret=SECRET)
    assert keys.provide(settings) == (settings, None)
    assert not (tmp_path / "data").exists()


def test_public_keys_need_no_token_secret(tmp_path: Path) -> None:
    settings, created = keys.provide(at(tmp_path, jwt_jwks_url="https://id.example.com/jwks"))
    assert settings.jwt_secret is None and settings.secret_keys is not None
    assert created is not None and "JWT_SECRET" not in created.read_text()


def test_only_what_is_missing_comes_from_the_file(tmp_path: Path) -> None:
    settings, created = keys.provide(at(tmp_path, jwt_secret=SECRET))
    assert secrets_of(settings)[1] == SECRET
    assert created is not None and SECRET not in created.read_text() and "PATCHBAY_JWT_SECRET" not in created.read_text()


def test_processes_starting_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gateway import keys; from gateway.settings import Settings\n"
        "sys.stdin.readline(); settings, created = keys.provide(Settings(data_dir=Path(sys.argv[1])))\n"
        "print(settings.secret_keys.get_secret_value(), settings.jwt_secret.get_secret_value(), created is not None)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "data")], cwd=ROOT, stdin=-1, stdout=-1, stderr=-1, text=True
        )
        for _ in range(4)
    ]
    answers = [process.communicate("go\n", timeout=60) for process in started]
    assert [err for _, err in answers] == [""] * 4
    words = [out.split() for out, _ in answers]
    assert len({tuple(found[:2]) for found in words}) == 1
    assert sorted(found[2] for found in words) == ["False", "False", "False", "True"]


def test_the_slower_of_two_takes_the_keys_of_the_faster(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.keys"
    path.write_text(f"PATCHBAY_SECRET_KEYS=k1:{KEY}\nPATCHBAY_JWT_SECRET={SECRET}\n")
    path.chmod(0o600)
    before = path.read_bytes()
    assert keys._create(path, ["secret_keys", "jwt_secret"]) is False
    assert path.read_bytes() == before
    assert secrets_of(keys.provide(at(tmp_path))[0]) == (f"k1:{KEY}", SECRET)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o611])
def test_a_file_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "patchbay.keys"
    path.write_text(f"PATCHBAY_SECRET_KEYS=k1:{KEY}\nPATCHBAY_JWT_SECRET={SECRET}\n")
    path.chmod(mode)
    assert key_refusal(at(tmp_path)) == f"{path}: others may read or write this file; run: chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "has no PATCHBAY_SECRET_KEYS and PATCHBAY_JWT_SECRET; add it there, or set it in the environment."),
        (CANARY, "has no PATCHBAY_SECRET_KEYS and PATCHBAY_JWT_SECRET; add it there, or set it in the environment."),
        (f"PATCHBAY_JWT_SECRET={SECRET}", "has no PATCHBAY_SECRET_KEYS; add it there, or set it in the environment."),
        (
            f"PATCHBAY_SECRET_KEYS={CANARY}\nPATCHBAY_JWT_SECRET={SECRET}",
            "PATCHBAY_SECRET_KEYS: entry 1 is not of the form id:base64key.",
        ),
        (
            f"PATCHBAY_SECRET_KEYS=k1:{KEY}\nPATCHBAY_JWT_SECRET={CANARY}",
            "PATCHBAY_JWT_SECRET: must have 32 bytes or more.",
        ),
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "patchbay.keys"
    path.write_text(text)
    path.chmod(0o600)
    assert key_refusal(at(tmp_path)) == f"{path}: {rule}"
    assert path.read_text() == text


def test_a_file_of_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "patchbay.keys"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    assert key_refusal(at(tmp_path)) == f"{path}: must be UTF-8 text."


def test_a_database_whose_keys_are_gone_gets_no_new_ones(tmp_path: Path) -> None:
    (tmp_path / "patchbay.db").write_text("a database")
    assert key_refusal(at(tmp_path)) == (
        f"PATCHBAY_SECRET_KEYS: not set, and {tmp_path}/patchbay.keys is gone, but the database is there. "
        "Its secrets open only with the keys that sealed them: restore the file, or set the variable."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["patchbay.db"]


def test_hosts_sharing_a_database_do_not_each_make_keys(tmp_path: Path) -> None:
    message = key_refusal(at(tmp_path / "data", database_url="postgres://u:p@db/x"))
    assert message.startswith(
        "PATCHBAY_SECRET_KEYS and PATCHBAY_JWT_SECRET: must be set with PostgreSQL, the same on every host."
    )
    assert not (tmp_path / "data").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = at(tmp_path / "file" / "data", database_url=f"sqlite:///{tmp_path}/new.db")
    assert key_refusal(settings) == f"{tmp_path}/file/data/patchbay.keys: cannot be read (Not a directory)."
    (tmp_path / "patchbay.keys").mkdir(mode=0o700)
    assert key_refusal(at(tmp_path)) == f"{tmp_path}/patchbay.keys: cannot be read (Is a directory)."
