from __future__ import annotations

import base64
import os
import traceback
from pathlib import Path

import pytest

from gateway.addresses import ROOT, normal_database_url
from gateway.settings import Settings, SettingsError, variable

CANARY = "hunter2-canary"
KEY = base64.b64encode(bytes(range(32))).decode()
SECRET = "a-secret-of-thirty-two-bytes-or-more"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("PATCHBAY_", "WHATSAPP_")):
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
    shown = Settings.load(env_file=None).model_dump()
    assert {name: value for name, value in shown.items() if not name.startswith("rate_limit_")} == {
        "host": "127.0.0.1",
        "port": 8000,
        "public_url": None,
        "trusted_proxies": ("127.0.0.1",),
        "region": None,
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
        "auth_failures": "100/60",
        "max_body_bytes": 2_097_152,
        "compile_operations": True,
        "persisted_operations": None,
        "persisted_only": False,
        "graphiql": True,
        "worker": True,
        "worker_concurrency": 100,
        "lease_seconds": 90,
        "event_retention_days": 30,
        "webhook_http": False,
        "webhook_concurrency": 50,
        "webhook_retention_days": 30,
        "drain_seconds": 30,
        "metrics_token": None,
        "metrics_port": None,
        "otel": False,
        "protected_sender_names": (),
        "invitation_tokens": None,
        "sms_dlr_token": None,
        "sms_provider_secret": None,
        "sms_inbound_opt_out_token": None,
        "whatsapp_verify_token": None,
        "whatsapp_app_secret": None,
        "whatsapp_cloud_api_enabled": True,
        "whatsapp_phone_number_id": None,
        "whatsapp_access_token": None,
        "whatsapp_line_map": (),
        "log_level": "info",
        "log_format": "auto",
    }


def example_entries() -> dict[str, str]:
    """Variable -> default, as `.env.example` states them."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.removeprefix("# ").split("=", 1) for line in lines if line.startswith(("# PATCHBAY_", "# WHATSAPP_")))


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
        ("persisted_only", "true", "needs PATCHBAY_PERSISTED_OPERATIONS."),
        ("persisted_operations", "~nobody-of-that-name/x", "must not begin with ~ and a user who is not there."),
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
        ("metrics_token", "fifteen letters", "must have 16 ASCII characters or more."),
        ("metrics_token", f"{CANARY}é" * 4, "must have 16 ASCII characters or more."),
        (
            "invitation_tokens",
            f"{CANARY}-of-sixteen-or-more,{CANARY}",
            "must be separated by commas and have 16 ASCII characters or more each.",
        ),
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
