"""Every setting, its default and what it means. Only this room reads the environment, and only here."""

from __future__ import annotations

import difflib
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from models.vault import Vault

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "PATCHBAY_"
SHORTEST_JWT_SECRET = 32
SHORTEST_METRICS_TOKEN = 16
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_BUSES = ("memory", "redis", "rediss")
_JWKS_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

Words = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """Patchbay cannot start like this. `lines` name each setting and the rule it breaks, never a value."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _default_database(known: dict[str, Any]) -> str:
    return f"sqlite:///{known['data_dir']}/patchbay.db"


def _default_algorithms(known: dict[str, Any]) -> tuple[str, ...]:
    return ("RS256", "ES256") if known.get("jwt_jwks_url") else ("HS256",)


class Settings(BaseSettings):
    """How this installation runs. Each field is the environment variable PATCHBAY_<FIELD>."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
    )

    host: str = Field("127.0.0.1", description="Address the server listens on; 0.0.0.0 is every address of the machine.")
    port: int = Field(8000, ge=0, le=65535, description="Port the server listens on; 0 picks a free one.")
    public_url: str | None = Field(
        None, description="Where the world reaches this server, as in https://msg.example.com: providers call back there."
    )
    region: str | None = Field(None, max_length=80, description="A label of this installation, shown with its connectors.")
    data_dir: Path = Field(
        Path("data"), description="Directory of the SQLite database and the key file; a relative one starts at the checkout."
    )
    database_url: str = Field(
        default_factory=_default_database,
        examples=["sqlite:///data/patchbay.db"],
        repr=False,
        description="sqlite:///path, a relative one starting at the checkout, or postgresql://user:password@host/database. "
        "Not set: patchbay.db in the data directory.",
    )
    bus_url: str = Field(
        "memory://",
        repr=False,
        description="What wakes other processes up: memory:// within one process, redis://host:6379 between several.",
    )
    secret_keys: SecretStr | None = Field(
        None,
        description="Keys that encrypt stored secrets: id:base64key, separated by commas, 32 bytes each, the first seals. "
        "Not set: the key file in the data directory, written at the first start on SQLite.",
    )
    allow_private_addresses: bool = Field(
        False, description="Let providers, mail servers and webhooks be at private and loopback addresses; for development."
    )
    jwt_secret: SecretStr | None = Field(
        None,
        description="Secret of 32 bytes or more that signs tokens (HS256). Not set: the key file, unless there is a JWKS URL.",
    )
    jwt_jwks_url: str | None = Field(
        None, description="https URL of your identity provider's public keys; then it signs the tokens, and no secret is used."
    )
    jwt_algorithms: Words = Field(
        default_factory=_default_algorithms,
        examples=["HS256"],
        description="Signature algorithms taken, separated by commas: HS256 with a secret; RS256,ES256 unless set with JWKS.",
    )
    jwt_issuer: str = Field("patchbay", min_length=1, description="What a token's iss must be.")
    jwt_audience: str = Field("patchbay", min_length=1, description="What a token's aud must be or contain.")
    allowed_origins: Words = Field(
        (),
        description="Origins whose pages may call the API (CORS and websockets), separated by commas, as in "
        "https://app.example.com; * is any. The server's own pages always may.",
    )
    max_body_bytes: int = Field(
        2_097_152,
        ge=1024,
        le=67_108_864,
        description="Largest request body taken, in bytes; a websocket message has at most 262144 of them.",
    )
    graphiql: bool = Field(True, description="Serve the GraphiQL page at /graphql.")
    worker: bool = Field(True, description="Send messages from this process; false when `patchbay worker` runs beside it.")
    worker_concurrency: int = Field(100, ge=1, le=10_000, description="Messages one worker hands over at the same time.")
    lease_seconds: int = Field(
        90, ge=1, le=3600, description="How long a worker may keep what it took; then its outcome counts as unknown."
    )
    drain_seconds: int = Field(30, ge=0, le=3600, description="How long a stopping process finishes what it has begun.")
    metrics_token: SecretStr | None = Field(
        None,
        description="Bearer token with which Prometheus reads /metrics, 16 characters or more. Not set: there is no /metrics, "
        "because its numbers are of all workspaces.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which `patchbay worker` answers /healthz, /readyz and /metrics, as in 9464. Not set: it listens "
        "nowhere. `patchbay serve` answers them on its own port.",
    )
    otel: bool = Field(
        False,
        description="Export traces by OpenTelemetry, which the optional dependencies `otel` install; its own variables, such "
        "as OTEL_EXPORTER_OTLP_ENDPOINT, say where to.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="console, json, or auto: console when a person is watching, json otherwise."
    )

    @classmethod
    def load(cls, env_file: Path | None = ROOT / ".env") -> Settings:
        """Read the environment and, below it, the `.env` file. Raises SettingsError with every mistake at once."""
        try:
            return cls(_env_file=env_file)
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        except UnicodeDecodeError:
            raise SettingsError(f"{env_file}: must be UTF-8 text.") from None
        raise SettingsError(*(sentence(mistake) for mistake in mistakes if mistake["type"] != "default_factory_not_called"))

    @classmethod
    def example(cls) -> str:
        """The text of `.env.example`: every setting with its description and default."""
        head = (
            "# Settings of Patchbay with their defaults. Set them in the environment, or in a copy of this file named .env.\n"
        )
        return "\n".join([head, *(_example_of(name) for name in cls.model_fields)])

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("jwt_algorithms", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return ROOT / value.expanduser()
        except RuntimeError:
            raise ValueError("must not begin with ~ and a user who is not there") from None

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str) -> str:
        return normal_database_url(value)

    @field_validator("bus_url")
    @classmethod
    def _check_bus(cls, value: str) -> str:
        if not value.startswith(tuple(f"{bus}://" for bus in _BUSES)):
            raise ValueError("must begin with memory://, redis:// or rediss://")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        if value is not None:
            _web_url(value)
        return value and value.rstrip("/")

    @field_validator("secret_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            Vault.parse(value.get_secret_value())
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _check_jwt_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode("utf-8", "surrogatepass")) < SHORTEST_JWT_SECRET:
            raise ValueError(f"must have {SHORTEST_JWT_SECRET} bytes or more")
        return value

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (value.get_secret_value().isascii() and len(value) >= SHORTEST_METRICS_TOKEN):
            raise ValueError(f"must have {SHORTEST_METRICS_TOKEN} ASCII characters or more")
        return value

    @field_validator("jwt_jwks_url")
    @classmethod
    def _check_jwks(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("jwt_secret"):
            raise ValueError("cannot be set together with PATCHBAY_JWT_SECRET")
        if _web_url(value).scheme != "https" and not info.data.get("allow_private_addresses"):
            raise ValueError("must be https, or PATCHBAY_ALLOW_PRIVATE_ADDRESSES must be true")
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        allowed = _JWKS_ALGORITHMS if info.data.get("jwt_jwks_url") else ("HS256",)
        if not value or not set(value) <= set(allowed):
            key = "PATCHBAY_JWT_JWKS_URL" if info.data.get("jwt_jwks_url") else "a secret"
            raise ValueError(f"with {key} may only hold {', '.join(allowed)}")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("*" if origin == "*" else _origin(origin) for origin in value)

    @property
    def database_file(self) -> Path | None:
        """The SQLite file; None on PostgreSQL."""
        url = make_url(self.database_url)
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def normal_database_url(text: str) -> str:
    """The URL with the asynchronous driver, and a SQLite path made absolute. Raises ValueError without the URL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("must be a URL beginning with sqlite:/// or postgresql://") from None
    if url.drivername not in _DRIVERS:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    url = url.set(drivername=_DRIVERS[url.drivername])
    url = _sqlite_on_disk(url) if url.get_backend_name() == "sqlite" else _asyncpg_names(url)
    return url.render_as_string(hide_password=False)


def _sqlite_on_disk(url: URL) -> URL:
    if not url.database or url.database.startswith((":memory:", "file:")) or url.host:
        raise ValueError("must name a file, as in sqlite:///data/patchbay.db")
    return url.set(database=str(ROOT / url.database))


def _asyncpg_names(url: URL) -> URL:
    """Hosted databases hand out libpq's `sslmode`, which asyncpg calls `ssl`."""
    if not url.database:
        raise ValueError("must name a database, as in postgresql://host/patchbay")
    mode = url.query.get("sslmode")
    return url if mode is None else url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def _web_url(text: str) -> SplitResult:
    problem = "must be an http or https URL with a host and without credentials, query or fragment"
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        raise ValueError(problem) from None
    if not usable or "@" in url.netloc or url.query or url.fragment or not text.isprintable() or " " in text:
        raise ValueError(problem)
    return url


def _origin(text: str) -> str:
    url = _web_url(text)
    if url.path not in ("", "/"):
        raise ValueError("must be origins without a path, as in https://app.example.com")
    return f"{url.scheme}://{url.netloc.lower()}"


def sentence(mistake: ErrorDetails) -> str:
    """A validation mistake in one line: the variable and the rule, without the value."""
    name = str(mistake["loc"][0])
    if mistake["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, 1)
        return f"{variable(name)}: there is no such setting." + (f" Did you mean {variable(near[0])}?" if near else "")
    rule = mistake["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{variable(name)}: {rule[0].lower() + rule[1:]}."


def _example_of(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.examples[0] if field.examples else field.default
    if isinstance(default, bool):
        default = str(default).lower()
    about = textwrap.fill(str(field.description), 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
    return f"{about}\n# {variable(name)}={'' if default in (None, ()) else default}\n"
