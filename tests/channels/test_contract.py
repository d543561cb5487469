"""What every provider keeps, whatever its API: nothing is said twice, nothing secret shows, and every end has a meaning."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from channels import BY_REF, PROVIDERS, newest
from channels.base import CheckStatus, Media, Outbound, Provider, ReleaseStatus, Template
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.simulator import Simulator
from tests.channels.sample import Sample, samples
from tests.provider_server import Action, Garbage, ProviderServer, Reply, Reset, Silence, open_wire, patience

SAMPLES = samples()
ELSEWHERE = {"smpp", "simulator", "whatsappLine"}  # over a connection of their own, or by the door of the installation
TEXT = "Ünï-Kød 🎉 123456"
UNKNOWN = FailureKind.UNKNOWN_OUTCOME
OPEN = {UNKNOWN, FailureKind.TRANSIENT}

every_provider = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


def message(sample: Sample, **changes: Any) -> Outbound:
    given = {"id": "msg_0190f3c4a5b67000a1b2c3d4e5f60718", "to": sample.to, "body": TEXT}
    return Outbound(**{**given, **changes})


async def attempt(sample: Sample, *actions: Action, **changes: Any) -> tuple[SendError | None, Exchange, ProviderServer]:
    """One message to a server that does this, again and again, and what came of it."""
    action = actions[0]
    async with ProviderServer(*actions, default=action) as server, open_wire(total_timeout=patience(action)) as wire:
        provider = sample.make(server.url)
        exchange = Exchange(provider.secrets(), (TEXT,))
        try:
            await provider.send(wire, message(sample, **changes), exchange)
        except SendError as error:
            return error, exchange, server
        return None, exchange, server


def test_every_provider_that_speaks_http_is_tested() -> None:
    """Those with an address to call, that is."""
    speaking = {ref for ref, provider in BY_REF.items() if {"base_url", "url"} & set(provider.model_fields)}
    assert set(SAMPLES) == speaking


@every_provider
async def test_a_message_is_taken_with_its_text_whole(sample: Sample) -> None:
    error, exchange, server = await attempt(sample, sample.accepted)
    assert error is None
    sent = b"".join(request.body for request in server.requests)
    escaped = (TEXT.encode(), b"%F0%9F%8E%89", b"\\ud83c\\udf89")
    assert any(form in sent for form in escaped)
    assert exchange.provider_status == sample.accepted.status


@every_provider
@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        (Reply(429), {FailureKind.THROTTLED}),
        (Reply(500), OPEN),
        (Reply(502, body=b"<html>Bad Gateway</html>"), OPEN),
        (Reply(503), {FailureKind.TRANSIENT}),
        (Reply(401), {FailureKind.CONFIGURATION}),
        (Reply(301, headers={"Location": "https://elsewhere.example"}), {FailureKind.CONFIGURATION}),
        (Reply(200), {UNKNOWN}),
        (Reply(200, body=b"[" * 100_000), {UNKNOWN}),
        (Reply(200, body=b"\xff" * 2_000_000), {UNKNOWN}),
        (Reply(200, [None]), {UNKNOWN}),
        (Reply(200, body=b"{", stall=True), {UNKNOWN}),
        (Garbage(), {UNKNOWN}),
        (Reset(), {UNKNOWN}),
        (Silence(), {UNKNOWN}),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, (Reply, Garbage, Reset, Silence)) else "",
)
async def test_every_end_has_a_meaning_and_nothing_is_repeated(sample: Sample, action: Action, kinds: set[FailureKind]) -> None:
    error, _, server = await attempt(sample, action)
    assert error is not None and error.kind in kinds
    assert len(server.requests) == 1
    assert error.code == error.code.upper() and error.message


@every_provider
async def test_a_pause_is_as_long_as_the_provider_said(sample: Sample) -> None:
    error, _, _ = await attempt(sample, Reply(429, headers={"Retry-After": "7"}))
    assert error is not None and (error.kind, error.retry_after) == (FailureKind.THROTTLED, 7.0)
    error, _, _ = await attempt(sample, Reply(429))
    assert error is not None and error.retry_after is None


@every_provider
async def test_a_provider_that_is_away_was_sent_nothing(sample: Sample) -> None:
    async with open_wire() as wire:
        with pytest.raises(SendError) as caught:
            await sample.make("http://127.0.0.1:1").send(wire, message(sample), Exchange())
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "PROVIDER_UNREACHABLE")


@every_provider
@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"body": None}, {"EMPTY_MESSAGE"}),
        ({"body": " \n"}, {"EMPTY_MESSAGE"}),
        ({"body": "x" * 100_001}, {"TEXT_TOO_LONG", "TOO_MANY_SEGMENTS"}),
        ({"body": "\ud800"}, {"INVALID_TEXT"}),
        ({"media": (Media("file:///etc/passwd"),)}, {"INVALID_MEDIA_URL", "UNSUPPORTED_CONTENT", "TOO_MANY_MEDIA"}),
        ({"media": (Media("https://f.example/a.png"),) * 50}, {"TOO_MANY_MEDIA", "UNSUPPORTED_CONTENT"}),
    ],
)
async def test_what_cannot_be_carried_is_refused_unsent(sample: Sample, changes: dict[str, Any], codes: set[str]) -> None:
    error, _, server = await attempt(sample, sample.accepted, **changes)
    assert error is not None and error.kind is FailureKind.CONTENT and error.code in codes
    assert server.connections == 0


@every_provider
async def test_the_longest_text_is_taken_and_one_character_more_is_not(sample: Sample) -> None:
    error, _, _ = await attempt(sample, sample.accepted, body="x" * sample.limit)
    assert error is None
    error, _, server = await attempt(sample, sample.accepted, body="x" * (sample.limit + 1))
    assert error is not None and (error.kind, server.connections) == (FailureKind.CONTENT, 0)


@every_provider
@pytest.mark.parametrize("quoting", [True, False])
async def test_secrets_and_texts_show_nowhere(sample: Sample, quoting: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = " ".join((*sample.secrets, TEXT))
    actions: list[Action] = [Reply(400, {"message": said, "error": {"message": said, "code": 1}, "description": said})]
    actions += [Reply(502, body=said.encode()), Garbage(said.encode()), Reset(), Reply(302, headers={"Location": "/x"})]
    for action in actions if quoting else [sample.accepted, Silence()]:
        error, exchange, _ = await attempt(sample, action)
        provider = sample.make("http://127.0.0.1:1")
        shown = [exchange.record, exchange.stages, provider, provider.model_dump_json(), caplog.text]
        chain: BaseException | None = error
        while chain is not None:
            shown += [repr(chain), str(chain), vars(chain)]
            chain = chain.__cause__ or chain.__context__
        for hidden in (*sample.secrets, TEXT):
            assert hidden not in repr(shown)


@every_provider
@pytest.mark.parametrize(
    ("action", "status"),
    [
        (Reply(401), CheckStatus.ERROR),
        (Reply(503), CheckStatus.INDETERMINATE),
        (Garbage(), CheckStatus.INDETERMINATE),
        (Silence(), CheckStatus.INDETERMINATE),
    ],
)
async def test_verification_tells_outage_from_refusal_and_sends_nothing(
    sample: Sample, action: Action, status: CheckStatus
) -> None:
    async with ProviderServer(default=action) as server, open_wire(total_timeout=patience(action)) as wire:
        provider = sample.make(server.url)
        if not provider.about.capabilities.verifies_without_sending:
            return
        found = await provider.verify(wire)
        assert status in {check.status for check in found}
        assert CheckStatus.OK not in {check.status for check in found}
        assert TEXT.encode() not in b"".join(request.body for request in server.requests)


@every_provider
def test_settings_are_explained_and_secrets_are_of_their_kind(sample: Sample) -> None:
    provider = sample.make("http://127.0.0.1:1")
    for name, field in type(provider).model_fields.items():
        assert field.title and field.description and field.examples, name
    given = [value for _, value in provider if isinstance(value, SecretStr)]
    assert {value.get_secret_value() for value in given} <= set(provider.secrets())
    assert set(sample.secrets) <= set(provider.secrets())
    assert provider.destination(sample.to) == sample.to
    assert type(provider).about.documentation_url


def test_whoever_hears_of_receipts_or_messages_has_a_url_for_them() -> None:
    for provider in PROVIDERS:
        about = provider.about
        hears = about.capabilities.inbound or about.capabilities.delivery_receipts
        assert about.calls_back == (hears and about.key not in ELSEWHERE), about.key
        assert not about.calls_back or provider.receive is not Provider.receive, about.key


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [("GA GA", 2), ("GA BETA", 1), ("GA INTERNAL", 1), ("BETA BETA INTERNAL", 2), ("INTERNAL GA", 2), ("INTERNAL INTERNAL", 2)],
)
def test_a_new_connector_is_of_the_newest_version_that_is_ready(statuses: str, expected: int) -> None:
    versions = [versioned(number, ReleaseStatus(status)) for number, status in enumerate(statuses.split(), 1)]
    assert newest(versions)["simulator"].about.version == newest(versions[::-1])["simulator"].about.version == expected


def versioned(number: int, status: ReleaseStatus) -> type[Provider]:
    about = replace(Simulator.about, version=number, release_status=status)
    return type("Versioned", (Simulator,), {"about": about, "__annotations__": {"about": ClassVar[Template]}})
