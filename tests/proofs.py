"""What each provider was proven against, read from its tests: the parts beside the checkout, and the servers they run."""

from __future__ import annotations

import ast
from pathlib import Path

from channels.base import Provider

HERE = Path(__file__).resolve().parent / "channels"
SERVERS = {"MailServer(credentials": "aiosmtpd", "node_smpp": "node-smpp"}
HEAD = "Provider|Schema|SDK's requests|Published callbacks|Signatures|Server"


def proofs(provider: type[Provider]) -> list[str]:
    """A row of HEAD's table, after the provider: names, "yes", or nothing."""
    text = (HERE / f"test_{provider.__module__.rpartition('.')[2]}.py").read_text()
    tree = ast.parse(text)
    opened, recorded = _given(tree, "golden"), _given(tree, "Recorded")
    return [
        ", ".join(f"`{name}`" for name in sorted(_given(tree, "prism"))),
        _yes("requests.json" in opened),
        _yes(bool(recorded)),
        _yes("signatures.json" in opened or len(recorded) > 1),
        ", ".join(server for word, server in SERVERS.items() if word in text),
    ]


def _given(tree: ast.Module, function: str) -> set[str]:
    """The texts a function of this name is called with, wherever it is."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == function)
    given = (value for call in calls for value in (*call.args, *(keyword.value for keyword in call.keywords)))
    return {value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)}


def _yes(is_proven: bool) -> str:
    return "yes" if is_proven else ""
