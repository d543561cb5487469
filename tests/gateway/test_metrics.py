"""/metrics: who may read it, what it tells, and that it stays cheap and finite."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from delivery.metrics import BOUNDS, LANES, Histogram
from gateway import VERSION
from gateway.addresses import ROOT
from gateway.app import Application
from gateway.metrics import MOST_CONNECTORS, depths, is_bearer, lag
from gateway.serve import watched
from models.base import now
from models.metrics import Jobs
from tests.harness import Gateway, eventually, process, running, settings_for
from tests.sending import CREATE, plug, script, send, settled

TOKEN = "a token for the tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
WATCH = "subscription($id: ID!) { connectorMetrics(connectorId: $id, intervalMs: 60000) { queued } }"
Series = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture
async def measured(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(settings_for(tmp_path, metrics_token=TOKEN)) as gateway:
        yield gateway


async def scrape(gateway: Gateway, url: str | None = None) -> Series:
    async with gateway.http.get(f"{url or gateway.url}/metrics", headers=BEARER) as response:
        assert response.status == 200
        found: Series = {}
        for family in text_string_to_metric_families(await response.text()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found


def labelled(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


async def fresh(gateway: Gateway) -> Series:
    """A scrape that has read the database just now."""
    gateway.application.metrics.expire()
    return await scrape(gateway)


# ------------------------------------------------------------------ who may read


async def test_without_a_token_there_are_no_metrics(gateway: Gateway) -> None:
    async with gateway.http.get(f"{gateway.url}/metrics", headers=BEARER) as response:
        assert response.status == 404


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"])
async def test_others_are_refused(measured: Gateway, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    async with measured.http.get(f"{measured.url}/metrics", headers=headers) as response:
        assert (response.status, await response.text()) == (401, "Unauthorized\n")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_no_credential_of_the_api_opens_them(measured: Gateway) -> None:
    headers = {"authorization": f"Bearer {measured.token(admin=True)}"}
    async with measured.http.get(f"{measured.url}/metrics", headers=headers) as response:
        assert response.status == 401


def test_the_scheme_is_read_as_http_has_it() -> None:
    assert is_bearer(f"bearer {TOKEN}", TOKEN) and is_bearer(f"BEARER  {TOKEN} ", TOKEN)
    assert not is_bearer(f"Token {TOKEN}", TOKEN)


# ------------------------------------------------------------------ what it tells


async def test_a_message_is_counted_on_its_whole_way(measured: Gateway) -> None:
    connector_id = (await plug(measured))["id"]
    receipts = [(20, "DELIVERED"), (40, "READ")]
    told = script({"outcome": "throttled", "retryAfter": 0.05}, "accept", receipts=receipts)
    await settled(measured, await send(measured, connectorId=connector_id, flow="OTP", metadata=told), "READ")
    await settled(measured, await send(measured, connectorId=connector_id, metadata=script("rejected")), "FAILED")
    found = await scrape(measured)
    otp, normal = labelled(channel="SIMULATOR", lane="otp"), labelled(channel="SIMULATOR", lane="normal")
    assert found["patchbay_messages_accepted_total"] == {otp: 1, normal: 1}
    through = {"channel": "SIMULATOR", "provider": "SIMULATOR"}
    assert found["patchbay_attempts_total"] == {
        labelled(**through, outcome="throttled", kind="throttled"): 1,
        labelled(**through, outcome="sent", kind=""): 1,
        labelled(**through, outcome="failed", kind="recipient"): 1,
    }
    assert found["patchbay_retries_total"] == {labelled(**through, outcome="throttled", kind="throttled"): 1}
    assert found["patchbay_accept_to_sent_seconds_count"] == {otp: 1}
    assert found["patchbay_accept_to_sent_seconds_sum"][otp] >= 0.05
    assert found["patchbay_attempt_duration_seconds_count"] == {labelled(**through): 3}
    assert found["patchbay_sent_to_delivered_seconds_count"] == {labelled(channel="SIMULATOR"): 1}


async def test_a_batch_and_a_replay_are_counted_as_often_as_they_were_stored(measured: Gateway) -> None:
    connector_id = (await plug(measured))["id"]
    batch = """mutation($input: MessageSendBatchInput!) { messageSendBatch(input: $input) { isReplay userErrors { code } } }"""
    messages = [{"connectorId": connector_id, "to": "delivered", "body": "Hi", "priority": "BULK"}] * 3
    for is_replay in (False, True):
        answer = (await measured.gql(batch, input={"messages": messages, "idempotencyKey": "k"}))["messageSendBatch"]
        assert answer == {"isReplay": is_replay, "userErrors": []}
    for _ in range(2):
        await send(measured, connectorId=connector_id, priority="BULK", idempotencyKey="one")
    bulk = labelled(channel="SIMULATOR", lane="bulk")
    assert (await scrape(measured))["patchbay_messages_accepted_total"] == {bulk: 4}


async def test_the_queue_is_told_by_connector_lane_and_state(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, metrics_token=TOKEN), worker=False) as gateway:
        made = await gateway.gql(CREATE, input={"name": "idle", "config": {"simulator": {}}})
        connector_id = made["connectorCreate"]["connector"]["id"]
        for given in ({"flow": "OTP"}, {"priority": "HIGH"}, {"priority": "BULK"}, {"priority": "BULK"}):
            await send(gateway, connectorId=connector_id, **given)
        await send(gateway, connectorId=connector_id, scheduledAt=(now() + dt.timedelta(hours=1)).isoformat())
        found = (await scrape(gateway))["patchbay_database_queue_messages"]
    assert found == {
        labelled(connector_id=connector_id, lane=lane, state=state): number
        for lane, state, number in (("otp", "ready", 1), ("high", "ready", 1), ("bulk", "ready", 2), ("normal", "scheduled", 1))
    }


async def test_circuits_process_and_traffic(measured: Gateway) -> None:
    connector_id = (await plug(measured))["id"]
    async with measured.socket() as socket:
        stream = await socket.subscribe(WATCH, id=connector_id)
        await stream.next()
        async with measured.http.get(f"{measured.url}/no/such/path") as response:
            assert response.status == 404
        found = await fresh(measured)
    labels = labelled(connector_id=connector_id, channel="SIMULATOR", provider="SIMULATOR")
    assert found["patchbay_database_connector_circuit"] == {labels: 0}
    assert found["patchbay_database_connectors"] == {
        labelled(circuit="closed"): 1,
        labelled(circuit="half_open"): 0,
        labelled(circuit="open"): 0,
    }
    for name, value in (
        ("patchbay_database_up", 1),
        ("patchbay_bell_healthy", 1),
        ("patchbay_websockets", 1),
        ("patchbay_websocket_operations", 1),
        ("patchbay_worker_in_flight", 0),
        ("patchbay_event_lag", 0),
    ):
        assert found[name] == {(): value}, name
    requests = found["patchbay_http_requests_total"]
    assert requests[labelled(path="others", method="GET", status="404")] == 1
    assert requests[labelled(path="/graphql", method="POST", status="200")] >= 2
    [build] = found["patchbay_build_info"]
    assert dict(build)["version"] == VERSION
    assert found["process_resident_memory_bytes"][()] > 1e6


async def test_those_who_follow_the_log_are_told_of(measured: Gateway) -> None:
    await plug(measured)
    async with measured.application.tails.open(measured.demo.id):
        found = await fresh(measured)
        assert (found["patchbay_tailers"], found["patchbay_event_lag"]) == ({(): 1}, {(): 0})
    assert (await scrape(measured))["patchbay_tailers"] == {(): 0}


async def test_the_database_is_read_once_in_five_seconds(measured: Gateway) -> None:
    before = await fresh(measured)
    connector_id = (await plug(measured))["id"]
    assert (await scrape(measured))["patchbay_database_connectors"] == before["patchbay_database_connectors"]
    labels = labelled(connector_id=connector_id, channel="SIMULATOR", provider="SIMULATOR")
    assert (await fresh(measured))["patchbay_database_connector_circuit"] == {labels: 0}


async def test_without_the_database_its_series_are_absent(tmp_path: Path) -> None:
    application = Application(settings_for(tmp_path, metrics_token=TOKEN, database_url=f"sqlite:///{tmp_path}/no/such/x.db"))
    told = (await application.metrics.exposition(None))[0].decode()
    await application.stop()
    assert "patchbay_database_up 0.0" in told
    assert re.findall(r"^patchbay_database_(?!up)\w+", told, re.M) == []


async def test_the_format_asked_for(measured: Gateway) -> None:
    accept = {**BEARER, "accept": "application/openmetrics-text; version=1.0.0"}
    async with measured.http.get(f"{measured.url}/metrics", headers=accept) as response:
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert (await response.text()).endswith("# EOF\n")


async def test_no_secret_and_no_recipient_is_told(measured: Gateway) -> None:
    connector_id = (await plug(measured, "canary-name"))["id"]
    message_id = await send(measured, "canary-recipient", connectorId=connector_id, body="canary-body", metadata=script())
    await settled(measured, message_id, "SENT")
    async with measured.http.get(f"{measured.url}/metrics", headers=BEARER) as response:
        told = await response.text()
    assert [secret for secret in ("canary", TOKEN, message_id) if secret in told] == []


# ------------------------------------------------------------------ a process that only works


async def test_a_worker_is_watched_on_a_port_of_its_own(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, metrics_token=TOKEN, metrics_port=0)
    async with running(settings, worker=False) as gateway:
        async with watched(gateway.application) as port:
            url = f"http://127.0.0.1:{port}"
            assert (await scrape(gateway, url))["patchbay_database_up"] == {(): 1}
            statuses = {
                path: await status_of(gateway.http, url + path) for path in ("/healthz", "/readyz", "/metrics", "/graphql")
            }
        assert statuses == {"/healthz": 200, "/readyz": 200, "/metrics": 401, "/graphql": 404}
        with pytest.raises(aiohttp.ClientConnectorError):
            await status_of(gateway.http, url)


async def status_of(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as response:
        return response.status


async def test_without_a_port_a_worker_listens_nowhere(tmp_path: Path) -> None:
    async with watched(Application(settings_for(tmp_path))) as port:
        assert port is None


async def test_two_processes_tell_the_same_of_the_database_and_their_own_of_the_rest(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, metrics_token=TOKEN)
    async with running(settings, worker=True) as one, process(settings, worker=False) as two:
        connector_id = (await plug(one))["id"]
        await settled(one, await send(two, connectorId=connector_id, metadata=script()), "SENT")

        async def same() -> bool:
            first, second = await fresh(one), await fresh(two)
            return all(first[name] == second[name] for name in first if name.startswith("patchbay_database_"))

        assert await eventually(same)
        assert "patchbay_attempts_total" in await scrape(one) and "patchbay_attempts_total" not in await scrape(two)
        assert "patchbay_messages_accepted_total" not in await scrape(one)


# ------------------------------------------------------------------ small parts


def test_connectors_beyond_a_hundred_are_one() -> None:
    jobs = [Jobs(f"con_{i}", i % 4, "ready", i + 1) for i in range(MOST_CONNECTORS + 5)]
    found = depths(jobs)
    assert sum(found.values()) == sum(job.count for job in jobs)
    assert len({connector_id for connector_id, _, _ in found}) == MOST_CONNECTORS + 1
    assert {labels: number for labels, number in found.items() if labels[0] == "others"} == {
        ("others", LANES[i % 4], "ready"): i + 1 + (5 if i == 0 else 0) for i in range(4)
    }


def test_the_slowest_reader_is_the_lag() -> None:
    assert lag({"a": 9, "b": 9, "c": 9, "d": 9}, {"a": 9, "b": 4, "c": 10}) == 5
    assert lag({}, {"a": 1}) == 0


def test_a_histogram_counts_up_to_and_with_each_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1], BOUNDS[-1] + 1):
        histogram.observe(seconds)
    counts = histogram.cumulative()
    assert (counts[0], counts[1], counts[-2], counts[-1]) == (2, 3, 4, 5)
    assert list(BOUNDS) == sorted(BOUNDS)


def test_the_version_is_the_projects() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
