"""The rules of the house, held by programs."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from alembic.script import ScriptDirectory
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
)

import models
from channels import PROVIDERS
from gateway.settings import Settings
from models import migrate
from models.database import Database
from schema.roots import sdl
from tests.brokers import postgres_server
from tests.harness import POSTGRESQL, settings_for

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("gateway", "schema", "resolvers", "delivery", "channels", "models")
LONGEST_FILE = 400
LOCAL_POSTGRESQL = POSTGRESQL or "postgresql://postgres@127.0.0.1:5432"

# Workers and operators look at all workspaces at once: these modules are theirs, and of the others these functions.
ACROSS_WORKSPACES = {
    "chores",
    "clocks",
    "doors",
    "lanes",
    "many",
    "listeners",
    "metrics",
    "queue",
    "receipts",
    "stranded",
    "webhook_queue",
    "workers",
    "workspaces",
}
ALSO_ACROSS = {
    "api_keys.by_prefix",
    "api_keys.note_use",
    "api_keys.revoked",
    "connectors.check_due",
    "connectors.lease_check",
    "connectors.set_line",
    "events.flush",
    "messages.awaiting_receipt",
    "messages.begin_attempts",
    "messages.breakdowns",
    "messages.hold",
    "messages.statuses",
    "redaction.redacted",
    "messages.write_all",
    "messages.write_attempts",
    "optouts.among",
    "parts.forget_joined",
    "parts.old",
    "senders.alike",
    "redaction.redact",
    "underway.begin",
    "retention.policies",
    "spendings.forget",
    "waiting.drop",
}


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository that match, whether committed already or about to be."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for name in names if (path := ROOT / name).is_file()]


def sources(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in tracked(*(f"{room}/*.py" for room in rooms)):
        yield path.relative_to(ROOT), ast.parse(path.read_text())


# ------------------------------------------------------------------ files


def test_imports_keep_to_the_floors() -> None:
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    ended = subprocess.run([sys.executable, "-c", lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tracked(*(f"{r}/*.py" for r in ROOMS))}
    assert {path: lines for path, lines in long.items() if lines > LONGEST_FILE and "migrations" not in path} == {}


def test_no_two_test_modules_have_one_name() -> None:
    """pytest would run only the first of them."""
    names = Counter(path.name for path in tracked("tests/*/test_*.py", "tests/test_*.py"))
    assert [name for name, number in names.items() if number > 1] == []


def test_no_installed_distribution_has_our_names() -> None:
    installed = importlib.metadata.packages_distributions()
    assert {room: installed[room] for room in ROOMS if room in installed} == {}
    for room in ROOMS:
        assert Path(sys.modules[room].__file__ or "").parent == ROOT / room if room in sys.modules else True


def test_nothing_is_left_to_do() -> None:
    marks = re.compile("TO" + "DO|FIX" + "ME|XX" + "X:")
    assert [
        str(path.relative_to(ROOT)) for path in tracked("*.py", "*.md", "*.js", "Makefile") if marks.search(path.read_text())
    ] == []


def test_tracked_files_speak_of_the_product_alone() -> None:
    foreign = re.compile(
        r"/wo"
        + r"rk/|/ro"
        + r"ot/|/tm"
        + r"p/|--(?:extra-)?index-url|^registry=|resolved\": \"(?!https://registry\.npmjs\.org/)",
        re.M,
    )
    binary = {".png", ".ico", ".woff2"}
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in tracked()
        if path.suffix not in binary and (match := foreign.search(path.read_text(errors="replace")))
    }
    assert found == {}


# ------------------------------------------------------------------ code


def test_only_models_speaks_sql() -> None:
    verbs = {"select", "insert", "update", "delete"}
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources("gateway", "schema", "resolvers", "delivery", "channels")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
        if verbs & {alias.name for alias in node.names}
    ]
    assert found == []


def test_only_gateway_reads_the_environment() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources("schema", "resolvers", "delivery", "channels", "models")
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & {a.name for a in node.names})
    ]
    assert found == []


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules a module imports, wherever in it; of `from a import b`, `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_provider_imports_another() -> None:
    """Not by way of a module they share either, such as `channels.meta`."""
    providers = {provider.__module__ for provider in PROVIDERS}
    imports = {path.with_suffix("").as_posix().replace("/", "."): {*imported(tree)} for path, tree in sources("channels")}
    found = []
    for provider in sorted(providers):
        reached, ahead = set[str](), {provider}
        while ahead:
            reached |= ahead
            ahead = {name for module in ahead for name in imports[module] if name in imports} - reached
        found += [f"{provider} imports {other}" for other in sorted(reached & providers - {provider})]
    assert found == []


def test_tests_replace_nothing() -> None:
    patches = re.compile(r"mock\.patc" + r"h|unittest impor" + r"t mock|monkeypatch\.setatt" + r"r")
    assert [path.name for path in tracked("tests/*.py") if patches.search(path.read_text())] == []


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.ispkg:
            __import__(found.name)
            yield sys.modules[found.name]


def test_every_query_is_told_its_workspace() -> None:
    """Whoever takes a session takes the workspace right after it, so that no caller can forget it."""
    unasked = set()
    for module in modules(models):
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
            if name.startswith("_") or function.__module__ != module.__name__:
                continue
            parameters = list(inspect.signature(function).parameters)
            noun = module.__name__.removeprefix("models.")
            if parameters[:1] == ["session"] and parameters[1:2] != ["workspace_id"] and noun not in ACROSS_WORKSPACES:
                unasked.add(f"{noun}.{name}")
    assert unasked <= ALSO_ACROSS, unasked - ALSO_ACROSS


# ------------------------------------------------------------------ schema and database


def test_the_committed_schema_is_current() -> None:
    assert (ROOT / "schema" / "schema.graphql").read_text() == sdl(), "run make schema"


def undescribed(schema: GraphQLSchema) -> Iterator[str]:
    for name, kind in schema.type_map.items():
        if name.startswith("__") or name in ("String", "Int", "Float", "Boolean", "ID"):
            continue
        if not kind.description and kind not in (schema.query_type, schema.mutation_type, schema.subscription_type):
            yield name
        if isinstance(kind, GraphQLEnumType):
            yield from (f"{name}.{value}" for value, told in kind.values.items() if not told.description)
        if isinstance(kind, GraphQLInputObjectType):
            yield from (f"{name}.{field}" for field, told in kind.fields.items() if not told.description)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field, told in kind.fields.items():
                if not told.description:
                    yield f"{name}.{field}"
                yield from (f"{name}.{field}({word})" for word, argument in told.args.items() if not argument.description)


def test_everything_in_the_schema_is_described() -> None:
    assert list(undescribed(build_schema(sdl()))) == []


def test_a_server_loads_nothing_it_may_do_without() -> None:
    """What only some installations use, or only a migration: megabytes of every process, and time of every start."""
    code = "import sys, gateway.cli, gateway.serve; print(*(set(sys.argv[1:]) & set(sys.modules)))"
    spared = ("alembic", "redis", "asyncpg", "phonenumbers", "opentelemetry", "aiohttp.web", "pytest")
    done = subprocess.run([sys.executable, "-c", code, *spared], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


def test_the_newest_migration_is_the_one_alembic_ends_at() -> None:
    assert migrate.newest() == ScriptDirectory.from_config(migrate.config()).get_current_head()


async def differences(settings: Settings) -> list[object]:
    database = Database(settings.database_url)
    try:
        assert not await migrate.is_current(database.engine)
        await migrate.upgrade(database.engine)
        assert await migrate.is_current(database.engine)
        return await migrate.differences(database.engine)
    finally:
        await database.close()


async def test_migrations_make_what_the_tables_declare_on_sqlite(tmp_path: Path) -> None:
    assert await differences(settings_for(tmp_path, database_url=f"sqlite:///{tmp_path}/fresh.db")) == []


async def administrator(server: str) -> Any:
    """A connection to a server; None while it is not there, or does not let us in."""
    try:
        return await asyncpg.connect(f"{server}/postgres", timeout=5)
    except (OSError, asyncpg.PostgresError):
        return None


@pytest.fixture
async def fresh_postgresql() -> AsyncIterator[str]:
    """The URL of an empty database: on the server of this machine if it lets us in, else on one of our own."""
    name = f"patchbay_house_{uuid.uuid4().hex}"
    async with AsyncExitStack() as stack:
        server = LOCAL_POSTGRESQL
        connection = await administrator(server)
        if connection is None:
            own = stack.enter_context(postgres_server())
            await own.start()
            stack.push_async_callback(own.stop)
            server = f"postgresql://postgres@127.0.0.1:{own.port}"
            connection = await administrator(server)
            assert connection is not None
        stack.push_async_callback(connection.close)
        await connection.execute(f'CREATE DATABASE "{name}"')
        yield f"{server}/{name}"
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_migrations_make_what_the_tables_declare_on_postgresql(tmp_path: Path, fresh_postgresql: str) -> None:
    keys = {"secret_keys": "test:" + "A" * 43 + "=", "jwt_secret": "a secret of at least thirty-two bytes"}
    assert await differences(settings_for(tmp_path, database_url=fresh_postgresql, **keys)) == []
