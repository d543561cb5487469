"""/metrics: what this process has done and what the database holds, in Prometheus' words.

A series named patchbay_database_… is read from the database: it is the same from every process, so take the max of it and
not the sum. All others are of one process. Labels have an end: words of ours, and the ids of a hundred connectors.
"""

from __future__ import annotations

import asyncio
import hmac
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from delivery import unsubscribing
from delivery.metrics import BOUNDS, LANES, Histogram, Meters
from gateway import VERSION
from gateway.sockets import GraphQLSockets
from gateway.streams import Streams
from models import metrics as rows
from models import webhook_queue
from models.bell import Bell
from models.connectors import CircuitState
from models.database import Database
from models.events import Event
from models.metrics import Circuit, Jobs
from models.tail import Tails
from models.webhook_deliveries import DeliveryStatus

FRESH_SECONDS = 5.0
PATIENCE_SECONDS = 5.0
MOST_CONNECTORS = 100
MOST_TAILS = 1_000
OTHERS = "others"
HOOKS = "/v1/hooks"
PATHS = frozenset(
    {
        "/",
        "/graphql",
        "/healthz",
        "/readyz",
        "/schema.graphql",
        "/metrics",
        "/v1/webhooks/whatsapp",
        "/v1/webhooks/sms/dlr",
        "/v1/webhooks/sms/provider",
        "/v1/webhooks/sms/inbound-opt-out",
    }
)
METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})

Labels = TypeVar("Labels", bound=tuple[str, ...])

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Census:
    """What one look at the database found; `lag` is by how many events the slowest tailer is behind."""

    jobs: Sequence[Jobs] = ()
    circuits: Sequence[Circuit] = ()
    by_circuit: Mapping[str, int] = field(default_factory=dict)
    lag: int = 0
    webhooks: Mapping[str, int] = field(default_factory=dict)
    is_up: bool = False


class Requests:
    """Counts the HTTP requests of the application inside it."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.durations: defaultdict[tuple[str], Histogram] = defaultdict(Histogram)

    def around(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            begun, status = time.perf_counter(), 0

            async def note(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    self._count(scope, status, time.perf_counter() - begun)
                await send(message)

            try:
                await app(scope, receive, note)
            finally:
                if status == 0:
                    self._count(scope, status, time.perf_counter() - begun)

        return counted

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        """A `status` of 0: the client left before it was answered."""
        path = known_path(scope["path"])
        method = scope["method"] if scope["method"] in METHODS else OTHERS
        self.counts[path, method, str(status)] += 1
        self.durations[(path,)].observe(seconds)


class Metrics(Collector):
    """Everything there is to tell of a process, in a registry of its own."""

    def __init__(
        self,
        database: Database,
        bell: Bell,
        tails: Tails[Event],
        sockets: GraphQLSockets,
        streams: Streams,
        meters: Meters,
        in_flight: Callable[[], int],
    ) -> None:
        self.requests = Requests()
        self._database = database
        self._bell = bell
        self._tails = tails
        self._sockets = sockets
        self._streams = streams
        self._meters = meters
        self._in_flight = in_flight
        self._census = Census()
        self._read_at = -FRESH_SECONDS
        self._reading = asyncio.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)

    async def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """The text in the format asked for, and its content type. The database is read at most every five seconds."""
        async with self._reading:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._census = await self._count()
                self._read_at = time.monotonic()
        encode, content_type = choose_encoder(accept or "")
        return encode(self._registry), content_type

    def expire(self) -> None:
        """Have the next exposition read the database."""
        self._read_at = -FRESH_SECONDS

    async def _count(self) -> Census:
        """A database that cannot be read leaves its series out: an old number would pass for a new one."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._database.read() as session:
                jobs = await rows.jobs(session)
                circuits = await rows.circuits(session, MOST_CONNECTORS)
                by_circuit = await rows.connectors_by_circuit(session)
                waiting = await webhook_queue.open_by_status(session)
                heads = await rows.heads(session, list(self._tails.heads())[:MOST_TAILS])
        except (SQLAlchemyError, OSError) as error:
            log.warning("metrics_unreadable", error=type(error).__name__)
            return Census()
        return Census(jobs, circuits, by_circuit, lag(heads, self._tails.heads()), waiting, True)

    def collect(self) -> Iterable[Metric]:
        yield from self._of_process()
        yield from self._of_messages()
        yield from _of_requests(self.requests)
        yield gauge("patchbay_database_up", "Whether the database could be read.", float(self._census.is_up))
        if self._census.is_up:
            yield from _of_database(self._census)

    def _of_process(self) -> Iterator[Metric]:
        backend = "sqlite" if self._database.is_sqlite else "postgresql"
        labels = {"version": VERSION, "python": platform.python_version(), "database": backend}
        build = GaugeMetricFamily("patchbay_build_info", "What runs here; always 1.", labels=list(labels))
        build.add_metric(list(labels.values()), 1)
        yield build
        yield gauge("patchbay_bell_healthy", "Whether this process hears the bus.", self._bell.healthy)
        yield gauge("patchbay_websockets", "Open websockets.", len(self._sockets))
        yield gauge("patchbay_websocket_operations", "Operations, mostly subscriptions, on them.", self._sockets.operations)
        yield gauge("patchbay_http_streams", "Open streams over HTTP: server-sent events and multipart.", len(self._streams))
        yield gauge("patchbay_worker_in_flight", "Messages this process is handing over.", self._in_flight())
        yield gauge("patchbay_tailers", "Workspaces whose event log is followed here.", len(self._tails.heads()))

    def _of_messages(self) -> Iterator[Metric]:
        meters = self._meters
        lane, ended = ("channel", "lane"), ("channel", "provider", "outcome", "kind")
        yield counter("patchbay_messages_accepted", "Messages stored to be sent.", lane, meters.accepted)
        yield counter("patchbay_attempts", "Attempts by how they ended.", ended, meters.attempts)
        yield counter("patchbay_retries", "Attempts after which the message is tried again.", ended, meters.retries)
        about = "Messages given up because this software broke on them again and again."
        yield counter("patchbay_messages_poisoned", about, ("channel", "provider"), meters.poisoned)
        about = "From when a message was due until its provider took it."
        yield histogram("patchbay_accept_to_sent_seconds", about, lane, meters.accept_to_sent)
        about = "How long providers took to answer an attempt."
        yield histogram("patchbay_attempt_duration_seconds", about, ("channel", "provider"), meters.attempt_duration)
        about = "From when a provider took a message until it reached the recipient."
        yield histogram("patchbay_sent_to_delivered_seconds", about, ("channel",), meters.sent_to_delivered)
        about = "Requests to customers' webhooks, by where that left the delivery: delivered, retrying or dead."
        yield counter("patchbay_webhook_attempts", about, ("status",), meters.webhook_attempts)
        about = "How long receivers took to answer."
        yield histogram("patchbay_webhook_attempt_duration_seconds", about, (), meters.webhook_duration)
        about = "From when an event happened until a receiver had it."
        yield histogram("patchbay_webhook_latency_seconds", about, (), meters.webhook_latency)


def _of_requests(requests: Requests) -> Iterator[Metric]:
    about = "HTTP requests; status 0 is a client that left before it was answered."
    yield counter("patchbay_http_requests", about, ("path", "method", "status"), requests.counts)
    about = "From request to the beginning of the answer; a stream has no other end than its client's."
    yield histogram("patchbay_http_request_duration_seconds", about, ("path",), requests.durations)


def _of_database(census: Census) -> Iterator[Metric]:
    about = "Messages in the queue by connector; 'others' are those beyond the 100 fullest. The same from every process."
    depth = GaugeMetricFamily("patchbay_database_queue_messages", about, labels=("connector_id", "lane", "state"))
    for labels, number in sorted(depths(census.jobs).items()):
        depth.add_metric(labels, number)
    yield depth
    about = "0 closed, 1 half open, 2 open; of 100 connectors, those not closed first. The same from every process."
    circuit = GaugeMetricFamily("patchbay_database_connector_circuit", about, labels=("connector_id", "channel", "provider"))
    for each in census.circuits:
        circuit.add_metric((each.connector_id, each.channel_type, each.provider), _OPENNESS[each.state])
    yield circuit
    about = "Connectors by the state of their circuit. The same from every process."
    connectors = GaugeMetricFamily("patchbay_database_connectors", about, labels=("circuit",))
    for state in CircuitState:
        connectors.add_metric((state.lower(),), census.by_circuit.get(state, 0))
    yield connectors
    about = "Deliveries to customers' webhooks that have not ended. The same from every process."
    webhooks = GaugeMetricFamily("patchbay_database_webhook_deliveries", about, labels=("status",))
    for status in (DeliveryStatus.PENDING, DeliveryStatus.RETRYING):
        webhooks.add_metric((status.lower(),), census.webhooks.get(status, 0))
    yield webhooks
    yield gauge("patchbay_event_lag", "By how many events the slowest tailer of this process is behind.", census.lag)


_OPENNESS: dict[str, int] = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}


def depths(jobs: Sequence[Jobs]) -> Counter[tuple[str, str, str]]:
    """By connector, lane and state; the emptiest connectors beyond a hundred are one."""
    by_connector: Counter[str] = Counter()
    for job in jobs:
        by_connector[job.connector_id] += job.count
    shown = {connector_id for connector_id, _ in by_connector.most_common(MOST_CONNECTORS)}
    found: Counter[tuple[str, str, str]] = Counter()
    for job in jobs:
        name = job.connector_id if job.connector_id in shown else OTHERS
        found[name, LANES[job.priority], job.state] += job.count
    return found


def lag(heads: Mapping[str, int], read: Mapping[str, int]) -> int:
    """By how many events the slowest reader is behind the heads of the logs; one that has left is not."""
    return max((max(0, head - read.get(workspace_id, head)) for workspace_id, head in heads.items()), default=0)


def known_path(path: str) -> str:
    """A path of ours, without the part that is secret; all else is one, or strangers could make as many labels as they like."""
    if path in PATHS:
        return path
    return next((known for known in (HOOKS, unsubscribing.PATH) if path.startswith(f"{known}/")), OTHERS)


def gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value)


def counter(name: str, about: str, labels: Sequence[str], counts: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def histogram(name: str, about: str, labels: Sequence[str], found: Mapping[Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, about, labels=labels)
    bounds = [*map(str, BOUNDS), "+Inf"]
    for values, each in found.items():
        family.add_metric(values, list(zip(bounds, each.cumulative(), strict=True)), each.total)
    return family


def is_bearer(header: str | None, token: str) -> bool:
    """Whether an Authorization header carries this token."""
    scheme, _, given = (header or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
