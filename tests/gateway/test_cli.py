from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import stat
from pathlib import Path

import jwt
import pytest

from models.migrate import newest
from tests.commands import PATCHBAY, environment, patchbay, run, serving

VIEWER = "{ viewer { subject scopes isPlatformAdmin workspace { name } } }"
KEYS = {"SECRET_KEYS": "test:" + "A" * 43 + "=", "JWT_SECRET": secrets.token_hex(32)}


def claims(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


# ------------------------------------------------------------------ token


def test_token_prints_a_token_as_its_last_line_and_makes_the_workspace(data_dir: Path) -> None:
    ended = patchbay(data_dir, "token", "--workspace", "acme", "--scopes", "send:sms,connectors:read", "--ttl", "30m")
    assert ended.status == 0
    assert "Made the workspace acme." in ended.err
    told = claims(ended.last_line)
    assert told["scopes"] == "connectors:read send:sms"
    assert (told["sub"], told["admin"]) == ("cli", False)
    assert int(str(told["exp"])) - int(str(told["iat"])) == 1800


def test_tokens_work_beside_a_running_server(data_dir: Path) -> None:
    with serving(data_dir) as server:
        same = patchbay(data_dir, "token", "--admin", "--subject", "ops")
        other = patchbay(data_dir, "token", "--workspace", "acme", "--scopes", "connectors:read")
        assert same.err == ""
        assert server.ask(VIEWER, server.token)["data"]["viewer"] == {
            "subject": "demo",
            "scopes": ["*"],
            "isPlatformAdmin": False,
            "workspace": {"name": "demo"},
        }
        assert server.ask(VIEWER, same.last_line)["data"]["viewer"] == {
            "subject": "ops",
            "scopes": ["*"],
            "isPlatformAdmin": True,
            "workspace": {"name": "demo"},
        }
        assert server.ask(VIEWER, other.last_line)["data"]["viewer"] == {
            "subject": "cli",
            "scopes": ["connectors:read"],
            "isPlatformAdmin": False,
            "workspace": {"name": "acme"},
        }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--scopes", "connectors:fly"], "patchbay: There is no scope 'connectors:fly'. Known are: *, connectors:*,"),
        (["--ttl", "soon"], "patchbay: A lifetime is a number and s, m, h or d, as in 45s, 30m, 1h or 7d."),
        (["--workspace", ""], "patchbay: A workspace's name has 1 to 200 characters."),
    ],
)
def test_a_token_that_cannot_be(data_dir: Path, arguments: list[str], complaint: str) -> None:
    ended = patchbay(data_dir, "token", *arguments)
    assert ended.status == 2
    assert ended.complaint.startswith(complaint)
    assert not (data_dir / "patchbay.db").exists()


def test_with_an_identity_provider_it_signs_the_tokens(data_dir: Path) -> None:
    ended = patchbay(data_dir, "token", JWT_JWKS_URL="https://idp.example.com/keys")
    assert ended.status == 2
    assert "identity provider" in ended.complaint


# ------------------------------------------------------------------ migrate


def test_migrate_makes_the_tables_and_does_nothing_the_second_time(data_dir: Path) -> None:
    first, second = patchbay(data_dir, "migrate"), patchbay(data_dir, "migrate")
    assert (first.status, first.out) == (0, f"The database is at migration {newest()}.\n")
    assert (second.status, second.out, second.err) == (0, first.out, "")
    with sqlite3.connect(data_dir / "patchbay.db") as connection:
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (0,)
    connection.close()


def test_a_database_of_a_later_version_is_left_alone(data_dir: Path) -> None:
    patchbay(data_dir, "migrate")
    with sqlite3.connect(data_dir / "patchbay.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    ended = patchbay(data_dir, "serve")
    assert ended.status == 2
    assert f"another version of Patchbay migrated it; this one ends at migration {newest()}" in ended.complaint


# ------------------------------------------------------------------ what cannot be started


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_file_that_is_no_database(data_dir: Path, command: str) -> None:
    data_dir.mkdir()
    (data_dir / "patchbay.db").write_text("a diary " * 200)
    ended = patchbay(data_dir, command, **KEYS)
    assert ended.status == 2
    file = data_dir / "patchbay.db"
    assert ended.complaint == f"patchbay: PATCHBAY_DATABASE_URL: {file} cannot be used (file is not a database)."
    assert file.read_text() == "a diary " * 200


@pytest.mark.parametrize("command", ["worker", "token"])
def test_a_postgresql_that_is_not_there(data_dir: Path, command: str) -> None:
    ended = patchbay(data_dir, command, DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/patchbay", **KEYS)
    assert ended.status == 2
    assert ended.complaint == "patchbay: PATCHBAY_DATABASE_URL: 127.0.0.1/patchbay cannot be used (Connection refused)."


def test_every_mistake_in_the_settings_at_once(data_dir: Path) -> None:
    ended = patchbay(data_dir, "serve", PORT="http", LOG_LEVEL="loud", BUS_URL="carrier-pigeon://")
    assert ended.status == 2
    assert ended.out == ""
    assert [line.split(":")[1].strip() for line in ended.err.splitlines()] == [
        "PATCHBAY_PORT",
        "PATCHBAY_BUS_URL",
        "PATCHBAY_LOG_LEVEL",
    ]
    assert not data_dir.exists()


def without_privileges() -> tuple[str, ...]:
    """What a command runs under so that permissions count even for root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv") or pytest.skip("setpriv is not installed")
    gone = "-dac_override,-dac_read_search"
    return (setpriv, f"--bounding-set={gone}", f"--inh-caps={gone}")


def test_a_directory_that_may_not_be_written(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o500)
    serve = [*without_privileges(), *PATCHBAY, "serve"]
    unkeyed, keyed = run(serve, environment(data_dir)), run(serve, environment(data_dir, **KEYS))
    assert (unkeyed.status, keyed.status) == (2, 2)
    assert unkeyed.complaint.startswith(f"patchbay: {data_dir}/patchbay.keys: cannot be written (Permission denied).")
    assert keyed.complaint.startswith(f"patchbay: PATCHBAY_DATABASE_URL: {data_dir}/patchbay.db cannot be used (")
    assert list(data_dir.iterdir()) == []


# ------------------------------------------------------------------ help


def test_without_a_command_it_says_what_there_is(data_dir: Path) -> None:
    ended = patchbay(data_dir)
    assert ended.status == 2
    for word in ("patchbay", "serve", "worker", "migrate", "token"):
        assert word in ended.out + ended.err
    assert not data_dir.exists()


def test_the_key_file_is_private_kept_and_refused_when_others_may_read_it(data_dir: Path) -> None:
    assert patchbay(data_dir, "token").status == 0
    keys = data_dir / "patchbay.keys"
    written = keys.read_text()
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    keys.chmod(0o644)
    ended = patchbay(data_dir, "token")
    assert ended.status == 2
    assert ended.complaint == f"patchbay: {keys}: others may read or write this file; run: chmod 600 {keys}"
    assert keys.read_text() == written
