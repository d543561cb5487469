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
from gateway.settings import ROOT, Settings, SettingsError, normal_database_url, variable
from models.vault import Vault

CANARY = "hunter2-canary"
KEY = base64.b64encode(bytes(range(32))).decode()
SECRET = "a-secret-of-thirty-two-bytes-or-more"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("PATCHBAY_"):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(variable(name), value)
    return Settings.load(env_file=None)


def refusal(monkeypatch: pytest.MonkeyPatch, **values: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **values)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value.lines


# ------------------------------------------------------------------ defaults and the example file


def test_defaults() -> None:
    assert Settings.load(env_file=None).model_dump() == {
        "host": "127.0.0.1",
        "port": 8000,
        "public_url": None,
        "data_dir": ROOT / "data",
        "database_url": f"sqlite+aiosqlite:///{ROOT}/data/patchbay.db",
        "bus_url": "memory://",
        "secret_keys": None,
        "allow_private_addresses": False,
        "jwt_secret": None,
        "jwt_jwks_url": None,
        "jwt_algorithms": ("HS256",),
        "jwt_issuer": "patchbay",
        "jwt_audience": "patchbay",
        "allowed_origins": (),
        "max_body_bytes": 262_144,
        "graphiql": True,
        "worker": True,
        "worker_concurrency": 100,
        "drain_seconds": 30,
        "event_retention_days": 7,
        "log_level": "info",
        "log_format": "auto",
    }


def example_entries() -> dict[str, str]:
    """Variable -> default, as `.env.example` states them."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.removeprefix("# ").split("=", 1) for line in lines if line.startswith("# PATCHBAY_"))


def test_example_file_is_current() -> None:
    assert (ROOT / ".env.example").read_text() == Settings.example(), "write Settings.example() to .env.example"


def test_example_file_lists_every_setting_and_no_other() -> None:
    assert list(example_entries()) == [variable(name) for name in Settings.model_fields]


def test_every_setting_is_described_in_the_example_file() -> None:
    words = (ROOT / ".env.example").read_text().replace("\n# ", " ")
    for name, field in Settings.model_fields.items():
        assert field.description and field.description in words, name


def test_the_defaults_of_the_example_file_are_the_defaults(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}={default}\n" for name, default in example_entries().items()))
    assert Settings.load(env_file) == Settings.load(None)


def test_no_example_secret_and_no_path_of_this_machine() -> None:
    assert str(ROOT) not in Settings.example()
    assert example_entries()["PATCHBAY_SECRET_KEYS"] == example_entries()["PATCHBAY_JWT_SECRET"] == ""


# ------------------------------------------------------------------ reading


def test_environment_beats_the_file_and_empty_means_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PATCHBAY_PORT=1\nPATCHBAY_HOST=::1\nSOMEBODY_ELSES=x\nPATCHBAY_LOG_LEVEL=\n")
    monkeypatch.setenv("PATCHBAY_PORT", "2")
    monkeypatch.setenv("PATCHBAY_WORKER", "")
    settings = Settings.load(env_file)
    assert (settings.port, settings.host, settings.worker, settings.log_level) == (2, "::1", True, "info")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load(None).port = 1  # type: ignore[misc]


def test_lists_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, allowed_origins="https://App.example.com/, http://localhost:3000,*,", log_level="WARNING")
    assert settings.allowed_origins == ("https://app.example.com", "http://localhost:3000", "*")
    assert settings.log_level == "warning"


def test_data_dir_carries_the_database_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load(monkeypatch, data_dir=str(tmp_path))
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/patchbay.db"
    assert settings.database_file == tmp_path / "patchbay.db"


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("sqlite:///x/y.db", f"sqlite+aiosqlite:///{ROOT}/x/y.db"),
        ("sqlite:////srv/y.db", "sqlite+aiosqlite:////srv/y.db"),
        ("sqlite+aiosqlite:////srv/y.db", "sqlite+aiosqlite:////srv/y.db"),
        ("postgres://u:p%40ss@db:5433/x", "postgresql+asyncpg://u:p%40ss@db:5433/x"),
        ("postgresql://db/x", "postgresql+asyncpg://db/x"),
        ("postgresql+asyncpg://db/x", "postgresql+asyncpg://db/x"),
        ("postgresql://db/x?sslmode=require", "postgresql+asyncpg://db/x?ssl=require"),
    ],
)
def test_database_urls_get_the_asynchronous_driver(given: str, normal: str) -> None:
    assert normal_database_url(given) == normal
    assert normal_database_url(normal) == normal


def test_postgresql_has_no_database_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, database_url="postgres://u:p@db/x").database_file is None


def test_public_keys_bring_their_own_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, jwt_jwks_url="https://id.example.com/jwks").jwt_algorithms == ("RS256", "ES256")


def test_plain_http_keys_only_where_private_addresses_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, jwt_jwks_url="http://127.0.0.1:1/jwks", allow_private_addresses="true")
    assert settings.jwt_jwks_url == "http://127.0.0.1:1/jwks"


def test_repr_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        secret_keys=f"k1:{KEY}",
        jwt_secret=SECRET,
        database_url=f"postgres://u:{CANARY}@db/x",
        bus_url=f"redis://:{CANARY}@r",
    )
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert not [secret for secret in (KEY, SECRET, CANARY) if secret in shown]


# ------------------------------------------------------------------ mistakes

WEB = "must be an http or https URL with a host and without credentials, query or fragment."


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("port", "65536", "input should be less than or equal to 65535."),
        ("port", "-1", "input should be greater than or equal to 0."),
        ("port", "587; DROP", "input should be a valid integer, unable to parse string as an integer."),
        ("worker", "perhaps", "input should be a valid boolean, unable to interpret input."),
        ("worker_concurrency", "0", "input should be greater than or equal to 1."),
        ("max_body_bytes", "10", "input should be greater than or equal to 1024."),
        ("log_level", "loud", "input should be 'debug', 'info', 'warning' or 'error'."),
        ("log_format", "xml", "input should be 'auto', 'console' or 'json'."),
        ("data_dir", "~nobody-of-that-name/x", "must not begin with ~ and a user who is not there."),
        ("database_url", CANARY, "must be a URL beginning with sqlite:/// or postgresql://."),
        ("database_url", f"postgres://u:{CANARY}@h:port/x", "must be a URL beginning with sqlite:/// or postgresql://."),
        ("database_url", f"mysql://u:{CANARY}@h/x", "must begin with sqlite:/// or postgresql://."),
        ("database_url", f"postgresql+psycopg://u:{CANARY}@h/x", "must begin with sqlite:/// or postgresql://."),
        ("database_url", f"postgres://u:{CANARY}@h", "must name a database, as in postgresql://host/patchbay."),
        ("database_url", "sqlite://", "must name a file, as in sqlite:///data/patchbay.db."),
        ("database_url", "sqlite:///:memory:", "must name a file, as in sqlite:///data/patchbay.db."),
        ("database_url", "sqlite://data/patchbay.db", "must name a file, as in sqlite:///data/patchbay.db."),
        ("bus_url", f"kafka://{CANARY}", "must begin with memory://, redis:// or rediss://."),
        ("secret_keys", CANARY, "entry 1 is not of the form id:base64key."),
        ("secret_keys", f"k1:{CANARY}", "the key k1 is not base64."),
        ("jwt_secret", CANARY, "must have 32 bytes or more."),
        ("jwt_jwks_url", "http://id.example.com/jwks", "must be https, or PATCHBAY_ALLOW_PRIVATE_ADDRESSES must be true."),
        ("jwt_jwks_url", "file:///etc/passwd", WEB),
        ("jwt_jwks_url", f"https://u:{CANARY}@id.example.com/jwks", WEB),
        ("jwt_algorithms", "none", "with a secret may only hold HS256."),
        ("jwt_algorithms", "HS256,RS256", "with a secret may only hold HS256."),
        ("jwt_algorithms", ",", "with a secret may only hold HS256."),
        ("public_url", "msg.example.com", WEB),
        ("public_url", "https://", WEB),
        ("public_url", "https://h:99999", WEB),
        ("public_url", "https://h/\x1b[31m", WEB),
        ("allowed_origins", "https://ok.example.com,example.com", WEB),
        ("allowed_origins", "https://example.com/app", "must be origins without a path, as in https://app.example.com."),
    ],
)
def test_a_mistake_is_one_readable_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str) -> None:
    assert refusal(monkeypatch, **{name: value}) == (f"{variable(name)}: {rule}",)


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, port="x", graphiql="x", secret_keys=CANARY) == (
        "PATCHBAY_PORT: input should be a valid integer, unable to parse string as an integer.",
        "PATCHBAY_SECRET_KEYS: entry 1 is not of the form id:base64key.",
        "PATCHBAY_GRAPHIQL: input should be a valid boolean, unable to interpret input.",
    )


def test_secret_and_public_keys_are_never_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = refusal(monkeypatch, jwt_secret=SECRET, jwt_jwks_url="https://id.example.com/jwks")
    assert lines == ("PATCHBAY_JWT_JWKS_URL: cannot be set together with PATCHBAY_JWT_SECRET.",)


def test_public_keys_refuse_symmetric_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = refusal(monkeypatch, jwt_jwks_url="https://id.example.com/jwks", jwt_algorithms="RS256,HS256")
    assert line.startswith("PATCHBAY_JWT_ALGORITHMS: with PATCHBAY_JWT_JWKS_URL may only hold RS256, RS384,")


def test_a_misspelt_name_in_the_file_is_refused(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"PATCHBAY_JWT_SECRETS={CANARY}\n")
    with pytest.raises(SettingsError) as caught:
        Settings.load(env_file)
    assert caught.value.lines == ("PATCHBAY_JWT_SECRETS: there is no such setting. Did you mean PATCHBAY_JWT_SECRET?",)


# ------------------------------------------------------------------ the key file


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
