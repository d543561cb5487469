"""Any HTTP API: a request written as a template, and rules for reading the answer. For providers we do not know."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlencode

import orjson
from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from channels import checks, contents, placeholders, standard_webhooks
from channels.answers import Answer, Document, Maybe, Verdict, refused, unreadable, verdict
from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    DeliveryStatus,
    Outbound,
    Provider,
    Received,
    Report,
    Template,
)
from channels.callbacks import Callback, CallbackRefusedError, Refusal, require
from channels.choices import Choice
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import Wire, checked_url

STATUSES: Mapping[str, DeliveryStatus] = {status.lower(): status for status in DeliveryStatus}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})
_TRANSIENT: Verdict = (FailureKind.TRANSIENT, "PROVIDER_UNAVAILABLE")
_REJECTED: Verdict = (FailureKind.CONTENT, "REJECTED")

Path = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,9}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]


class HttpMethod(Choice):
    """The method of the request."""

    POST = "POST", "POST, with a body."
    PUT = "PUT", "PUT, with a body."
    PATCH = "PATCH", "PATCH, with a body."
    GET = "GET", "GET, without a body: everything is in the URL."


class HttpEncoding(Choice):
    """How the body is written."""

    JSON = "JSON", "As JSON."
    FORM = "FORM", "As a form: the members of the template's object are its fields."


class HttpAuth(Choice):
    """How the request proves whose it is."""

    NONE = "NONE", "It does not."
    BASIC = "BASIC", "User name and password (RFC 7617)."
    BEARER = "BEARER", "Authorization: Bearer (RFC 6750)."
    HEADER = "HEADER", "A header field of your choice."
    SIGNATURE = "SIGNATURE", "An HMAC over id, time and body, as Standard Webhooks has it."


class Status(Document):
    id: Name
    status: str
    error: Maybe[Annotated[str, Field(max_length=500)]] = None


class Http(Provider):
    about: ClassVar[Template] = Template(
        slug="http",
        key="http",
        channel=ChannelType.WEBHOOK,
        provider="HTTP",
        title="Any HTTP API",
        documentation_url="https://www.rfc-editor.org/rfc/rfc9110",
        calls_back=True,
        capabilities=Capabilities(subject=True, media=True, delivery_receipts=True, read_receipts=True),
    )

    url: str = Field(
        title="URL",
        description="Where messages go. {{to}}, {{body}}, {{id}}, {{from}}, {{subject}}, {{html}}, {{flow}} and {{metadata.x}} "
        "stand for the message's own, percent-encoded. Keep secrets out of it.",
        examples=["https://sms.example.com/v1/send"],
        max_length=2000,
    )
    method: HttpMethod = Field(HttpMethod.POST, title="Method", description="The request's method.", examples=["POST"])
    encoding: HttpEncoding = Field(
        HttpEncoding.JSON, title="Encoding", description="How the body is written.", examples=["JSON"]
    )
    body: str = Field(
        '{"id": "{{id}}", "to": "{{to}}", "text": "{{body}}"}',
        title="Body",
        description="The body as JSON with the same placeholders, and {{media}} for the list of addresses of files.",
        examples=['{"to": "{{to}}", "text": "{{body}}"}'],
        max_length=10_000,
    )
    headers: str | None = Field(
        None,
        title="Headers",
        description="Header fields, a line each. Secrets belong into authSecret.",
        examples=["Accept: application/json"],
        max_length=4000,
    )
    auth: HttpAuth = Field(
        HttpAuth.NONE, title="Authentication", description="How the request is authenticated.", examples=["BEARER"]
    )
    auth_name: str | None = Field(
        None,
        title="Name",
        description="The user's name (BASIC) or the header field's (HEADER).",
        examples=["X-Api-Key"],
        max_length=200,
    )
    auth_secret: SecretStr | None = Field(
        None,
        title="Secret",
        description="The password, the token, the header's value, or the key that signs (`whsec_` and base64, or any text).",
        examples=["your-secret"],
        min_length=1,
    )
    idempotency_header: str | None = Field(
        None,
        title="Idempotency header",
        description="Header field that carries the message's id.",
        examples=["Idempotency-Key"],
        max_length=100,
    )
    id_path: Path | None = Field(
        None,
        title="Path of the id",
        description="Where a JSON answer holds its id of the message, as in data.items.0.id. Without it, ours is used.",
        examples=["message.id"],
    )
    success_path: Path | None = Field(
        None,
        title="Path of success",
        description="Where a JSON answer with a 2xx says whether the message was taken.",
        examples=["status"],
    )
    success_value: str | None = Field(
        None, title="Value of success", description="What stands there when it was.", examples=["ok"], max_length=200
    )
    error_path: Path | None = Field(
        None, title="Path of the error", description="Where a JSON answer says what is wrong.", examples=["error.message"]
    )
    transient_statuses: str = Field(
        "503",
        title="Transient statuses",
        description="HTTP statuses after which the message was not taken and is worth another try, separated by commas.",
        examples=["500,502,503,504"],
        pattern=r"^([1-5][0-9]{2}(, ?[1-5][0-9]{2}){0,30})?$",
    )
    max_text_length: int = Field(4096, title="Longest text", description="In characters.", examples=[1600], ge=1, le=100_000)
    check_url: str | None = Field(
        None,
        title="Check URL",
        description="A GET there, authenticated likewise, must answer 2xx for the connector to be verified.",
        examples=["https://sms.example.com/v1/balance"],
        max_length=2000,
    )
    callback_token: SecretStr | None = Field(
        None,
        title="Callback token",
        description='Token that status callbacks bring as Authorization: Bearer. JSON, as {"id": "…", "status": "sent"}, '
        "with the status processing, sent, delivered, read or failed, and error where it failed.",
        examples=["choose-a-random-word"],
        min_length=8,
    )

    @field_validator("url", "check_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None:
            checked_url(placeholders.PLACEHOLDER.sub("x", value))
            _check_placeholders(value)
            if placeholders.PLACEHOLDER.search(value.partition("//")[2].partition("/")[0]):
                raise ValueError("must not have a placeholder in its host")
        return value

    @field_validator("body")
    @classmethod
    def _is_json(cls, value: str) -> str:
        try:
            orjson.loads(value)
        except ValueError:
            raise ValueError("must be JSON; a placeholder stands inside a string") from None
        _check_placeholders(value)
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: str | None) -> str | None:
        _lines(value)
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.auth is not HttpAuth.NONE and self.auth_secret is None:
            raise ValueError(f"authSecret is required with {self.auth}")
        if self.auth in (HttpAuth.BASIC, HttpAuth.HEADER) and not self.auth_name:
            raise ValueError(f"authName is required with {self.auth}")
        names = (self.auth_name if self.auth is HttpAuth.HEADER else None, self.idempotency_header)
        if any(name is not None and not _HEADER.fullmatch(name) for name in names):
            raise ValueError("a header field's name has letters, digits and hyphens")
        if ours := [name for name in names if name is not None and name.lower() in _OURS]:
            raise ValueError(f"{ours[0]} is not yours to set")
        if (self.success_path is None) != (self.success_value is None):
            raise ValueError("successPath and successValue go together")
        if self.encoding is HttpEncoding.FORM and not isinstance(orjson.loads(self.body), dict):
            raise ValueError("the body of a form is a JSON object")
        return self

    def secrets(self) -> tuple[str, ...]:
        basic = (self._basic,) if self.auth is HttpAuth.BASIC else ()
        return (*super().secrets(), *basic)

    def destination(self, to: str) -> str:
        """Any printable text: whom it means is the API's affair."""
        if 1 <= len(to) <= 320 and to.isprintable() and to == to.strip():
            return to
        raise ValueError("A recipient has 1 to 320 printable characters.")

    def check(self, message: Outbound) -> None:
        contents.check_no_template(message)
        contents.check_presence(message)
        contents.check_media(message.media, 10)
        contents.check_text(message.body, self.max_text_length)

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        self.check(message)
        values = _values(message)
        content = None if self.method is HttpMethod.GET else placeholders.document_of(self.body, values)
        form = None
        if self.encoding is HttpEncoding.FORM and content is not None:
            form, content = [(name, _plain(value)) for name, value in content.items()], None
        headers = {**_lines(self.headers), **self._authorization(message.id, _raw(content, form))}
        if self.idempotency_header:
            headers[self.idempotency_header] = message.id
        url = placeholders.url_of(self.url, values)
        answer = await wire.call(exchange, self.method, url, json=content, form=form, headers=headers)
        with exchange.stage(StageName.ACCEPTED):
            return self._accepted(answer, message, exchange)

    def authenticate(self, callback: Callback) -> None:
        """Without a callback token the secret in our URL has to do."""
        if self.callback_token is not None:
            require(f"Bearer {self.callback_token.get_secret_value()}", callback.header("authorization"))

    def receive(self, callback: Callback) -> Received:
        told = callback.read(Status)
        status = STATUSES.get(told.status.lower())
        if status is None:
            raise CallbackRefusedError(Refusal.MALFORMED)
        failure = None
        if status is DeliveryStatus.FAILED:
            failure = SendError(*_REJECTED, "The API reports the message as failed.", provider_message=told.error)
        report = Report(
            event_id=f"{told.id}:{status.lower()}",
            provider_id=told.id,
            status=status,
            occurred_at=callback.received_at,
            failure=failure,
            detail=status.lower(),
            message_id=told.id if told.id.startswith("msg_") else None,
            raw={"id": told.id, "status": told.status},
        )
        return Received(reports=(report,))

    async def verify(self, wire: Wire) -> list[Check]:
        if self.check_url is None:
            unsure = Assertion("answers", CheckStatus.WARNING, "There is no check URL, so nothing was asked.")
            return [Check("api", "API", (unsure,))]
        exchange = Exchange(self.hidden)
        headers = {**_lines(self.headers), **self._authorization("check", b"")}
        try:
            answer = await wire.call(exchange, "GET", self.check_url, headers=headers)
            if not answer.ok:
                raise refused("The API", answer, verdict(answer.status))
        except SendError as error:
            return [Check("api", "API", (checks.failed("answers", error),))]
        return [Check("api", "API", (Assertion("answers", CheckStatus.OK, "The API answers."),))]

    @property
    def _secret(self) -> str:
        return self.auth_secret.get_secret_value() if self.auth_secret is not None else ""

    @property
    def _basic(self) -> str:
        return base64.b64encode(f"{self.auth_name}:{self._secret}".encode(errors="replace")).decode()

    def _authorization(self, message_id: str, body: bytes) -> dict[str, str]:
        match self.auth:
            case HttpAuth.BASIC:
                return {"Authorization": f"Basic {self._basic}"}
            case HttpAuth.BEARER:
                return {"Authorization": f"Bearer {self._secret}"}
            case HttpAuth.HEADER:
                return {str(self.auth_name): self._secret}
            case HttpAuth.SIGNATURE:
                return standard_webhooks.headers([standard_webhooks.key_of(self._secret)], message_id, round(time.time()), body)
        return {}

    def _accepted(self, answer: Answer, message: Outbound, exchange: Exchange) -> Accepted:
        document = _parsed(answer)
        if not answer.ok or not self._says_yes(document):
            raise self._refusal(answer, document, exchange)
        if self.id_path is None:
            return Accepted(message.id)
        found = placeholders.at_path(document, self.id_path)
        name = str(found) if isinstance(found, (str, int)) and not isinstance(found, bool) else ""
        if not re.fullmatch(r"[!-~]{1,255}", name):
            raise unreadable("The API", answer)
        return Accepted(name)

    def _says_yes(self, document: Any) -> bool:
        if self.success_path is None:
            return True
        return _plain(placeholders.at_path(document, self.success_path)) == self.success_value

    def _refusal(self, answer: Answer, document: Any, exchange: Exchange) -> SendError:
        if answer.ok and document is None:
            return unreadable("The API", answer)
        said = placeholders.at_path(document, self.error_path) if self.error_path else None
        words = exchange.redact(_plain(said)) if said is not None else None
        transient = str(answer.status) in self.transient_statuses.replace(" ", "").split(",")
        found = _TRANSIENT if transient else _REJECTED if answer.ok else verdict(answer.status)
        return refused("The API", answer, found, message=words)


def _check_placeholders(template: str) -> None:
    name = placeholders.unknown(template)
    if name is not None:
        raise ValueError(f"{{{{{name}}}}} stands for nothing")


def _lines(text: str | None) -> dict[str, str]:
    """Header fields from lines. Raises ValueError for what is none, or is not the owner's to set."""
    found = {}
    for line in (text or "").splitlines():
        name, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or not _HEADER.fullmatch(name) or not value.strip().isprintable():
            raise ValueError("must be lines of a name, a colon and a value")
        if name.lower() in _OURS:
            raise ValueError(f"{name} is not yours to set")
        found[name] = value.strip()
    return found


def _values(message: Outbound) -> dict[str, Any]:
    return {
        "id": message.id,
        "to": message.to,
        "from": message.sender,
        "subject": message.subject,
        "body": message.body,
        "html": message.html,
        "media": [item.url for item in message.media],
        "flow": message.flow,
        "attempt": message.attempt,
        "metadata": dict(message.metadata),
    }


def _raw(content: Any, form: list[tuple[str, str]] | None) -> bytes:
    """The body as it goes over the wire, which a signature covers."""
    return urlencode(form).encode() if form is not None else b"" if content is None else orjson.dumps(content)


def _plain(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _parsed(answer: Answer) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
