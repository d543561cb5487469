"""Spans by OpenTelemetry: of HTTP requests, operations, acceptances and attempts. Imported only where PATCHBAY_OTEL is true.

A message's acceptance and its attempts are of different traces, hours apart perhaps and often of different processes; its id
joins them. Neither recipients nor contents are told, and providers are sent no trace of ours.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import time
from collections.abc import Sequence

import strawberry
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from channels.errors import SendError
from delivery.metrics import Meters
from delivery.verdict import Finished, Verdict
from gateway import VERSION
from gateway.metrics import known_path
from gateway.spans import Untraced
from models.underway import Sendable
from schema.answers import Answer
from schema.documents import Documents
from schema.engine import Engine, Prepared

_FAILED = Status(StatusCode.ERROR)


def exporter() -> SpanProcessor:
    """Sends spans over OTLP, in a thread of its own, to where OpenTelemetry's environment variables say."""
    return BatchSpanProcessor(OTLPSpanExporter())


class Traces(Untraced):
    """Its provider is the process's own and not the global one: no library's spans come along."""

    def __init__(self, processor: SpanProcessor) -> None:
        ours = Resource.create({"service.name": "patchbay", "service.version": VERSION})
        self._provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer: Tracer = self._provider.get_tracer("patchbay", VERSION)

    def meters(self) -> Meters:
        return TracedMeters(self._tracer)

    def engine(self, schema: strawberry.Schema, documents: Documents) -> Engine:
        return TracedEngine(schema, documents, self._tracer)

    def around(self, app: ASGIApp) -> ASGIApp:
        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            method, path = scope["method"], known_path(scope["path"])
            caller = extract({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
            named = {"http.request.method": method, "http.route": path}
            with self._tracer.start_as_current_span(f"{method} {path}", caller, SpanKind.SERVER, named) as span:

                async def note(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        span.set_attribute("http.response.status_code", message["status"])
                        if message["status"] >= 500:
                            span.set_status(_FAILED)
                    await send(message)

                await app(scope, receive, note)

        return traced

    def close(self) -> None:
        self._provider.shutdown()


class TracedEngine(Engine):
    """With a span around each query and mutation."""

    def __init__(self, schema: strawberry.Schema, documents: Documents, tracer: Tracer) -> None:
        super().__init__(schema, documents)
        self._tracer = tracer

    async def execute(self, prepared: Prepared, context: object) -> Answer:
        kind = prepared.kind.value
        named = {"graphql.operation.type": kind, "graphql.operation.name": prepared.name or ""}
        with self._tracer.start_as_current_span(f"graphql {kind}", attributes=named) as span:
            answer = await super().execute(prepared, context)
            span.set_attribute("patchbay.errors", len(answer.errors))
            return answer


class TracedMeters(Meters):
    """With a span for what is counted."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def accept(self, messages: Sequence[Sendable]) -> None:
        super().accept(messages)
        if messages:
            ids = [message.id for message in messages[:100]]
            self._tracer.start_span(
                "accept", attributes={"patchbay.messages": len(messages), "patchbay.message.ids": ids}
            ).end()

    def attempt(self, finished: Finished, verdict: Verdict) -> None:
        """Written when the outcome is stored; the span is as long as the attempt was and ends now."""
        super().attempt(finished, verdict)
        ended = time.time_ns()
        begun = ended - int((finished.outcome.duration_ms or 0) * 1_000_000)
        result = finished.outcome.result
        span = self._tracer.start_span("attempt", Context(), SpanKind.CLIENT, _told(finished, verdict), start_time=begun)
        if isinstance(result, SendError):
            span.set_attributes({"patchbay.failure.kind": result.kind.value, "error.type": result.code})
            span.set_status(_FAILED)
        span.end(ended)


def _told(finished: Finished, verdict: Verdict) -> dict[str, str | int]:
    status = finished.outcome.exchange.provider_status
    told: dict[str, str | int] = {
        "patchbay.message.id": finished.claim.message_id,
        "patchbay.connector.id": finished.connector.id,
        "patchbay.channel": finished.connector.channel_type,
        "patchbay.provider": finished.connector.provider,
        "patchbay.attempt": finished.claim.attempt,
        "patchbay.outcome": verdict.word,
    }
    return told if status is None else {**told, "patchbay.provider.status": status}
