"""Every setting, its default and what it means. Only this room reads the environment, and only here."""

from __future__ import annotations

import difflib
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url

from gateway.addresses import ROOT, normal_database_url, origin_of, web_url
from gateway.setting_types import BusUrl, JwtSecret, KeyList, Pairs, RateText, Token, Tokens, Words
from resolvers.windows import Rate

PREFIX = "PATCHBAY_"
_RATE_LIMIT = "rate_limit_"
LISTS = ("jwt_algorithms", "allowed_origins", "trusted_proxies", "protected_sender_names", "whatsapp_line_map")
SOURCE = "WHATSAPP_"  # settings that many have under these names already
_JWKS_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


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
    """How this installation runs. Each field is the environment variable PATCHBAY_<FIELD>, unless it has a name of its own."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    host: str = Field("127.0.0.1", description="Address the server listens on; 0.0.0.0 is every address of the machine.")
    port: int = Field(8000, ge=0, le=65535, description="Port the server listens on; 0 picks a free one.")
    public_url: str | None = Field(
        None, description="Where the world reaches this server, as in https://msg.example.com: providers call back there."
    )
    trusted_proxies: Words = Field(
        default_factory=lambda: ("127.0.0.1",),
        examples=["127.0.0.1"],
        description="Addresses or networks of the proxies in front, separated by commas: their X-Forwarded-For and "
        "X-Forwarded-Proto say who calls, and how. * trusts everyone.",
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
    bus_url: BusUrl = Field(
        "memory://",
        repr=False,
        description="What wakes other processes up: memory:// within one process, redis://host:6379 between several.",
    )
    secret_keys: KeyList | None = Field(
        None,
        description="Keys that encrypt stored secrets: id:base64key, separated by commas, 32 bytes each, the first seals. "
        "Not set: the key file in the data directory, written at the first start on SQLite.",
    )
    allow_private_addresses: bool = Field(
        False, description="Let providers, mail servers and webhooks be at private and loopback addresses; for development."
    )
    jwt_secret: JwtSecret | None = Field(
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
    compile_operations: bool = Field(
        True, description="Compile operations that are asked again; false to see whether an answer depends on it."
    )
    persisted_operations: Path | None = Field(
        None,
        description="JSON file of operations clients may name by id: id to text as Relay's compiler writes it, or Apollo's "
        "manifest; a relative one starts at the checkout. It is read at the start.",
    )
    persisted_only: bool = Field(
        False, description="Run the operations of that file only, and no others, introspection included."
    )
    graphiql: bool = Field(True, description="Serve the GraphiQL page at /graphql.")
    worker: bool = Field(True, description="Send messages from this process; false when `patchbay worker` runs beside it.")
    worker_concurrency: int = Field(100, ge=1, le=10_000, description="Messages one worker hands over at the same time.")
    lease_seconds: int = Field(
        90, ge=1, le=3600, description="How long a worker may keep what it took; then its outcome counts as unknown."
    )
    event_retention_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="How long events, and with them the timelines of messages, are kept. How long messages keep recipient and "
        "content, each workspace says (`workspaceUpdate`).",
    )
    webhook_http: bool = Field(
        False, description="Let customers' webhooks be at http URLs, at addresses and at any port; for development."
    )
    webhook_concurrency: int = Field(
        50, ge=1, le=10_000, description="Deliveries to customers' webhooks one worker makes at the same time."
    )
    webhook_retention_days: int = Field(
        30, ge=1, le=3650, description="How long deliveries to customers' webhooks are kept after they have ended."
    )
    drain_seconds: int = Field(30, ge=0, le=3600, description="How long a stopping process finishes what it has begun.")
    auth_failures: RateText = Field(
        Rate(100, 60),
        description="Credentials of one address that may be refused, as number/seconds; past them all but those "
        "that were good lately get 429. Each process counts by itself.",
    )
    rate_limit_requests: RateText = Field(
        Rate(12_000, 60),
        description="Root fields one viewer may ask for, as number/seconds; aliases count. Each process counts by itself.",
    )
    rate_limit_connectors: RateText = Field(
        Rate(100, 60), description="Lists of connectors one viewer may ask for. Each process counts by itself."
    )
    rate_limit_connector_create: RateText = Field(
        Rate(10, 3600), description="Connectors one viewer may make, counted by all processes together like all that follow."
    )
    rate_limit_connector_test: RateText = Field(Rate(10, 3600), description="Test messages of connectors, for one viewer.")
    rate_limit_connector_update: RateText = Field(Rate(300, 3600), description="Changes of connectors, for one viewer.")
    rate_limit_connector_verify: RateText = Field(Rate(60, 3600), description="Repeated checks of connectors, for one viewer.")
    rate_limit_connector_delete: RateText = Field(Rate(300, 3600), description="Deletions of connectors, for one viewer.")
    rate_limit_api_key_create: RateText = Field(Rate(30, 3600), description="API keys one viewer may make.")
    rate_limit_sender_id_test: RateText = Field(Rate(10, 3600), description="Test messages under sender IDs, for one viewer.")
    rate_limit_webhook_subscription_test: RateText = Field(
        Rate(60, 3600), description="Test deliveries to webhook subscriptions, for one viewer."
    )
    metrics_token: Token | None = Field(
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
    protected_sender_names: Words = Field(
        (), description="Names of brands and authorities, beside the built-in ones, that sender IDs are compared with."
    )
    invitation_tokens: Tokens | None = Field(
        None,
        description="Tokens, separated by commas, of which `connectorCreate` needs one for templates that are not generally "
        "available, 16 characters or more each. Not set: BETA templates need none, INTERNAL ones cannot be used.",
    )
    sms_dlr_token: Token | None = Field(
        None,
        description="Token with which POST /v1/webhooks/sms/dlr?token=… takes delivery receipts as JSON, 16 characters or "
        "more. Not set: there is no such path.",
    )
    sms_provider_secret: Token | None = Field(
        None,
        description="Secret with which POST /v1/webhooks/sms/provider takes signed delivery receipts (Standard Webhooks), 16 "
        "characters or more, whsec_… or any text. Not set: there is no such path.",
    )
    sms_inbound_opt_out_token: Token | None = Field(
        None,
        description="Token with which POST /v1/webhooks/sms/inbound-opt-out?token=… takes messages from phones as JSON, 16 "
        "characters or more. Not set: there is no such path.",
    )
    whatsapp_verify_token: SecretStr | None = Field(
        None,
        validation_alias="WHATSAPP_VERIFY_TOKEN",
        description="What Meta repeats when it first calls /v1/webhooks/whatsapp. Not set: that handshake is refused with 404.",
    )
    whatsapp_app_secret: SecretStr | None = Field(
        None,
        validation_alias="WHATSAPP_APP_SECRET",
        description="The Meta app's secret, which signs what it tells /v1/webhooks/whatsapp. Not set: that path is not there.",
    )
    whatsapp_cloud_api_enabled: bool = Field(
        True, validation_alias="WHATSAPP_CLOUD_API_ENABLED", description="false switches WhatsApp off: CHANNEL_DISABLED."
    )
    whatsapp_phone_number_id: Annotated[str, StringConstraints(pattern="^[0-9]{1,32}$")] | None = Field(
        None,
        validation_alias="WHATSAPP_PHONE_NUMBER_ID",
        description="Meta's ID of the number for organizations that have no WhatsApp line of their own.",
    )
    whatsapp_access_token: SecretStr | None = Field(
        None, validation_alias="WHATSAPP_ACCESS_TOKEN", description="The token to send with over the platform's WhatsApp line."
    )
    whatsapp_line_map: Pairs = Field(
        (),
        validation_alias="WHATSAPP_LINE_MAP",
        description="Numbers that belong to one organization: Meta's ID=the organization's id, separated by commas.",
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

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("data_dir", "persisted_operations")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        try:
            return value and ROOT / value.expanduser()
        except RuntimeError:
            raise ValueError("must not begin with ~ and a user who is not there") from None

    @field_validator("persisted_only")
    @classmethod
    def _check_persisted_only(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("persisted_operations") is None:
            raise ValueError("needs PATCHBAY_PERSISTED_OPERATIONS")
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str) -> str:
        return normal_database_url(value)

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        if value is not None:
            web_url(value)
        return value and value.rstrip("/")

    @field_validator("jwt_jwks_url")
    @classmethod
    def _check_jwks(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("jwt_secret"):
            raise ValueError("cannot be set together with PATCHBAY_JWT_SECRET")
        if web_url(value).scheme != "https" and not info.data.get("allow_private_addresses"):
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
        return tuple("*" if origin == "*" else origin_of(origin) for origin in value)

    @property
    def rates(self) -> dict[str, Rate]:
        """The rate limits of a viewer, under the names of the fields they limit."""
        names = [name for name in type(self).model_fields if name.startswith(_RATE_LIMIT)]
        return {to_camel(name.removeprefix(_RATE_LIMIT)): getattr(self, name) for name in names}

    @property
    def database_file(self) -> Path | None:
        """The SQLite file; None on PostgreSQL."""
        url = make_url(self.database_url)
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    field = Settings.model_fields.get(name)
    own = field.validation_alias if field is not None else name
    return own if isinstance(own, str) and own.startswith(SOURCE) else PREFIX + name.upper()


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
