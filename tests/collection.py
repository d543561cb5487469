"""The examples as a collection that API clients import. `python -m tests.collection` writes it anew.

The format is Postman's 2.1 (https://schema.postman.com/collection/json/v2.1.0/draft-07/docs/index.html), which Insomnia, Bruno
and others read too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graphql import OperationDefinitionNode, parse

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
COLLECTION = EXAMPLES / "collection" / "patchbay.postman_collection.json"
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
STREAM = {"key": "Accept", "value": "text/event-stream"}


def collection() -> dict[str, Any]:
    """Every example as a request, in the order of their names."""
    return {
        "info": {"name": "Patchbay", "schema": SCHEMA, "description": "Set `token` to what `patchbay token` prints."},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        "variable": [{"key": "url", "value": "http://127.0.0.1:8000"}, {"key": "token", "value": ""}],
        "item": [_request(path) for path in sorted(EXAMPLES.glob("*.graphql"))],
    }


def _request(path: Path) -> dict[str, Any]:
    text, given = path.read_text(), path.with_suffix(".json")
    (operation,) = (node for node in parse(text).definitions if isinstance(node, OperationDefinitionNode))
    return {
        "name": path.stem,
        "request": {
            "method": "POST",
            "header": [STREAM] if operation.operation.value == "subscription" else [],
            "url": {"raw": "{{url}}/graphql", "host": ["{{url}}"], "path": ["graphql"]},
            "description": _comment(text),
            "body": {
                "mode": "graphql",
                "graphql": {"query": text, "variables": given.read_text() if given.exists() else "{}"},
            },
        },
    }


def _comment(text: str) -> str:
    """What an example says of itself in its first lines."""
    said = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        said.append(line.removeprefix("#").strip())
    return " ".join(said)


def render() -> str:
    return json.dumps(collection(), indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    COLLECTION.parent.mkdir(exist_ok=True)
    COLLECTION.write_text(render())


if __name__ == "__main__":
    write()
