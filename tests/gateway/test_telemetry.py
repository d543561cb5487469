"""Traces by OpenTelemetry: which spans there are, and that nothing of it is loaded unless it is wanted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.addresses import ROOT
from gateway.spans import Untraced, traces_of
from tests.harness import Gateway, running, settings_for
from tests.provider_server import ProviderServer, Reply
from tests.sending import plug, script, send, settled

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_without_it_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    assert type(traces_of(settings_for(tmp_path))) is Untraced
    names = "('gateway.telemetry', 'opentelemetry.exporter')"  # redis imports others where they are installed
    look = f"import sys, gateway.cli, gateway.app; print([name for name in sys.modules if name.startswith({names})])"
    shown = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_wanted_but_not_installed_is_said_in_a_sentence(tmp_path: Path) -> None:
    missing = (
        "import sys; sys.modules['opentelemetry.context'] = None; from gateway.spans import traces_of; import gateway.settings"
    )
    ask = f"{missing} as s\ntry: traces_of(s.Settings(otel=True))\nexcept s.SettingsError as error: print(error)"
    shown = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("PATCHBAY_OTEL: opentelemetry")
    assert shown.stdout.endswith(" is not installed; install the optional dependencies `otel`.\n")


# ------------------------------------------------------------------ with the packages


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProviderServer]:
    """What OpenTelemetry's exporter sends its spans to."""
    async with ProviderServer(default=Reply(200)) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        yield server


def spans_of(collector: ProviderServer) -> list[Any]:
    import gzip

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []
    for request in collector.requests:
        assert (request.method, request.path) == ("POST", "/v1/traces")
        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            assert {"service.name": "patchbay"}.items() <= attributes(resource.resource).items()
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def attributes(told: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in told.attributes}


async def through(gateway: Gateway) -> tuple[str, str, str]:
    """A connector, a message that was sent and one that was refused."""
    connector_id = (await plug(gateway))["id"]
    sent = await send(gateway, "canary-recipient", connectorId=connector_id, body="canary-body", metadata=script())
    await settled(gateway, sent, "SENT")
    refused = await send(gateway, connectorId=connector_id, metadata=script("rejected"))
    await settled(gateway, refused, "FAILED")
    return connector_id, sent, refused


async def test_a_message_leaves_spans_on_its_way(collector: ProviderServer, tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, otel=True)) as gateway:
        gateway.http.headers["traceparent"] = CALLER
        connector_id, sent, refused = await through(gateway)
    spans = spans_of(collector)
    by_id = {span.span_id: span for span in spans}
    accepts = [span for span in spans if span.name == "accept"]
    assert [attributes(span)["patchbay.messages"] for span in accepts] == [1, 1]
    operation = by_id[accepts[0].parent_span_id]
    assert (operation.name, attributes(operation)["graphql.operation.type"]) == ("graphql mutation", "mutation")
    request = by_id[operation.parent_span_id]
    assert (request.name, attributes(request)["http.response.status_code"]) == ("POST /graphql", 200)
    assert CALLER.split("-")[1:3] == [request.trace_id.hex(), request.parent_span_id.hex()]
    attempts = {attributes(span)["patchbay.message.id"]: span for span in spans if span.name == "attempt"}
    shared = {
        "patchbay.connector.id": connector_id,
        "patchbay.channel": "SIMULATOR",
        "patchbay.provider": "SIMULATOR",
        "patchbay.attempt": 1,
    }
    own = {"patchbay.message.id": sent, "patchbay.outcome": "SENT", "patchbay.provider.status": 202}
    assert attributes(attempts[sent]) == {**shared, **own}
    told = attributes(attempts[refused])
    assert shared.items() <= told.items()
    assert (told["patchbay.outcome"], told["patchbay.failure.kind"]) == ("FAILED", "RECIPIENT")
    assert (attempts[sent].status.code, attempts[refused].status.code) == (0, 2)
    assert attempts[sent].parent_span_id == b"" and attempts[sent].trace_id != request.trace_id
    assert not [request for request in collector.requests if b"canary" in request.body]


async def test_a_collector_that_is_away_harms_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with running(settings_for(tmp_path, otel=True)) as gateway:
        await through(gateway)
