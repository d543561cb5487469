"""The operator's list of operations: both files it may be, and a server that runs nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import persisted
from gateway.app import Application
from gateway.settings import SettingsError
from tests import make
from tests.harness import Gateway, running, settings_for

WHO = "query Who { viewer { subject } }"
WATCH = "subscription Watch { events { type } }"
DIGEST = hashlib.sha256(WHO.encode()).hexdigest()
APOLLO = {
    "format": "apollo-persisted-query-manifest",
    "version": 1,
    "operations": [{"id": DIGEST, "name": "Who", "type": "query", "body": WHO}, {"id": "watch", "body": WATCH}],
}


def written(directory: Path, content: Any) -> Path:
    path = directory / "operations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_both_files_are_understood(tmp_path: Path) -> None:
    texts = {DIGEST: WHO, "watch": WATCH}
    assert persisted.load(written(tmp_path, texts)) == texts
    assert persisted.load(written(tmp_path, APOLLO)) == texts
    assert persisted.load(written(tmp_path, {})) == persisted.load(None) == {}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "is not JSON (line 1)"),
        ("[]", "must hold an object"),
        ({"a": 1}, "has an operation without id or text, after 0 others"),
        ({"a": WHO, "b": ""}, "has an operation without id or text, after 1 others"),
        (
            {**APOLLO, "version": 2},
            "must be of the format apollo-persisted-query-manifest, version 1, with a list of operations",
        ),
        ({"format": "x"}, "must be of the format apollo-persisted-query-manifest, version 1, with a list of operations"),
        ({**APOLLO, "operations": ["x"]}, "has an operation that is no object"),
        ({**APOLLO, "operations": [{"id": "a", "body": WHO}, {"id": "a", "body": WATCH}]}, "has two operations with the id a"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, content: Any, rule: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(SettingsError) as refusal:
        persisted.load(path)
    assert str(refusal.value) == f"PATCHBAY_PERSISTED_OPERATIONS: {path} {rule}."


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"PATCHBAY_PERSISTED_OPERATIONS: .*none\.json cannot be read \(No such file"):
        Application(settings_for(tmp_path, persisted_operations=tmp_path / "none.json"))


async def code(gateway: Gateway, **request: Any) -> str:
    headers = {"authorization": f"Bearer {gateway.token()}"}
    async with gateway.http.post(f"{gateway.url}/graphql", json=request, headers=headers) as response:
        (error,) = (await response.json())["errors"]
        return str(error["extensions"]["code"])


async def test_a_server_that_runs_its_list_only(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, persisted_operations=written(tmp_path, APOLLO), persisted_only=True)
    async with running(settings, worker=False) as gateway:
        headers = {"authorization": f"Bearer {gateway.token()}"}
        hashed = {"persistedQuery": {"version": 1, "sha256Hash": DIGEST}}
        for request in {"query": WHO}, {"documentId": DIGEST}, {"documentId": f"sha256:{DIGEST}"}, {"extensions": hashed}:
            async with gateway.http.post(f"{gateway.url}/graphql", json=request, headers=headers) as response:
                assert await response.json() == {"data": {"viewer": {"subject": "tester"}}}, request
        async with gateway.http.get(f"{gateway.url}/graphql", params={"documentId": DIGEST}, headers=headers) as response:
            assert await response.json() == {"data": {"viewer": {"subject": "tester"}}}
        create = 'mutation { connectorCreate(input: {name: "A", config: {simulator: {}}}) { connector { id } } }'
        before = await make.counts(gateway)
        for text in create, "{ viewer { subject } }", "{ __schema { queryType { name } } }", "{":
            assert await code(gateway, query=text) == "PERSISTED_QUERY_NOT_FOUND"
        assert await make.counts(gateway) == before
        async with gateway.socket() as socket:
            refused = await (await socket.subscribe(create)).frame()
            assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "PERSISTED_QUERY_NOT_FOUND")
            assert (await (await socket.subscribe(WHO)).next()) == {"subject": "tester"}


async def test_a_listed_operation_that_the_schema_does_not_know_is_logged_at_the_start(tmp_path: Path) -> None:
    operations = written(tmp_path, {"old": "{ gone }", "who": WHO})
    with capture_logs() as logs:
        async with running(settings_for(tmp_path, persisted_operations=operations), worker=False) as gateway:
            assert await code(gateway, documentId="old") == "GRAPHQL_VALIDATION_FAILED"
    (line,) = [line for line in logs if line["event"] == "persisted_operation_refused"]
    assert (line["id"], line["reason"]) == ("old", "Cannot query field 'gone' on type 'Query'.")
