"""The command line: `patchbay serve | worker | migrate | token | rotate-secrets | verify-audit`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from gateway import keys, logs
from gateway.auth import mint, parse_ttl
from gateway.settings import Settings, SettingsError
from gateway.storage import current_database, only_process, open_database, prepare
from models import audit, workspaces
from models import migrate as migrations
from models.database import Database
from models.rotation import Rotation, rotate
from models.vault import Vault
from models.workspaces import Workspace
from resolvers.workspaces import LONGEST_NAME

DEMO = "demo"
TOKEN_TTL = "12h"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out, err = Console(soft_wrap=True, highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)


def main() -> None:
    """Run the command line; a mistake of the operator's is a sentence, not a traceback."""
    try:
        app(prog_name="patchbay")
    except SettingsError as error:
        for line in error.lines:
            err.print(f"patchbay: {line}", style="red", markup=False)
        raise SystemExit(2) from None


@app.command("serve")
def serve_command(
    worker: Annotated[
        bool | None, typer.Option(help="Also send messages from this process; by default as PATCHBAY_WORKER says.")
    ] = None,
) -> None:
    """Answer clients; migrates a SQLite database and, on the first start, makes a demo workspace."""
    settings, made = _ready()
    with only_process(settings):
        uvloop.run(_serve(settings, settings.worker if worker is None else worker, made is not None))


async def _serve(settings: Settings, worker: bool, first_start: bool) -> None:
    from gateway.serve import serve  # a second of imports that the other commands do without

    workspace = await prepare(settings, DEMO)

    async def started(address: str) -> None:
        _welcome(settings, address, workspace, first_start)

    await serve(settings, worker, started)


def _welcome(settings: Settings, address: str, workspace: Workspace, first_start: bool) -> None:
    if first_start:
        out.print(f"First start: keys written to {settings.data_dir / keys.FILE_NAME} (mode 600). Keep them with your backups.")
    out.print(f"Patchbay listens on {address}", style="bold")
    if settings.graphiql:
        out.print(f"  GraphiQL   {address}/graphql")
    out.print(f"  Schema     {address}/schema.graphql")
    if not settings.allow_private_addresses:
        out.print("  Egress     private and loopback addresses are refused; PATCHBAY_ALLOW_PRIVATE_ADDRESSES=true allows them")
    if settings.jwt_secret is not None:
        token = mint(settings, workspace.id, "demo", ["*"], parse_ttl(TOKEN_TTL))
        out.print(f"  Token      for workspace {workspace.name}, good for {TOKEN_TTL}; `patchbay token` prints another:")
        out.print(token, markup=False)


@app.command("worker")
def worker_command() -> None:
    """Send messages without answering clients; on PostgreSQL, as many as you like."""
    settings, _ = _ready()
    with only_process(settings):
        uvloop.run(_work(settings))


async def _work(settings: Settings) -> None:
    from gateway.serve import work  # as above

    await prepare(settings, DEMO)
    await work(settings)


@app.command("migrate")
def migrate_command() -> None:
    """Bring the database to the present schema."""
    settings, _ = _ready()
    with only_process(settings):
        uvloop.run(_migrate(settings))
    out.print(f"The database is at migration {migrations.newest()}.")


async def _migrate(settings: Settings) -> None:
    database = Database(settings.database_url)
    try:
        with open_database(settings):
            await migrations.upgrade(database.engine)
    finally:
        await database.close()


@app.command("rotate-secrets")
def rotate_command() -> None:
    """Seal every stored secret under the first of PATCHBAY_SECRET_KEYS; may run beside servers that have that key."""
    settings, _ = _ready()
    done = uvloop.run(_rotate(settings))
    out.print(f"{done.rewrapped} secrets were sealed anew, {done.current} were under the first key already.")
    if done.unreadable:
        names = ", ".join(done.unreadable)
        raise SettingsError(f"No key there is opens the secrets of {names}: bring their key back, or give them anew.")


async def _rotate(settings: Settings) -> Rotation:
    vault = Vault.parse(settings.secret_keys.get_secret_value() if settings.secret_keys else "")
    async with current_database(settings) as database:
        return await rotate(database, vault)


@app.command("verify-audit")
def verify_audit_command() -> None:
    """Look whether the audit log of any workspace was altered."""
    settings, _ = _ready()
    broken = uvloop.run(_broken(settings))
    if broken:
        raise SettingsError(*(f"The audit log of {name} is not as it was written from entry {seq} on." for name, seq in broken))
    out.print("The audit logs are as they were written.")


async def _broken(settings: Settings) -> list[tuple[str, int]]:
    async with current_database(settings) as database, database.read() as session:
        found = [(each.name, await audit.broken(session, each.id)) for each in await workspaces.everything(session)]
    return [(name, seq) for name, seq in found if seq is not None]


@app.command("token")
def token_command(
    workspace: Annotated[str, typer.Option(help="The workspace's name; made when there is none.")] = DEMO,
    scopes: Annotated[
        str, typer.Option(help="What it may do, separated by spaces or commas, as in 'connectors:read send:sms'.")
    ] = "*",
    admin: Annotated[bool, typer.Option("--admin", help="May act for the whole platform.")] = False,
    ttl: Annotated[str, typer.Option(help="How long it is good: 45s, 30m, 12h, 7d.")] = "1h",
    subject: Annotated[str, typer.Option(help="Who it is for.")] = "cli",
) -> None:
    """Print a token for a workspace, as the last line."""
    settings, _ = _ready()
    with _sentences():
        if not 1 <= len(workspace) <= LONGEST_NAME:
            raise ValueError(f"A workspace's name has 1 to {LONGEST_NAME} characters.")
        lifetime = parse_ttl(ttl)
        wanted = scopes.replace(",", " ").split()
        mint(settings, "check", subject, wanted, lifetime, admin=admin)
    found = uvloop.run(_workspace(settings, workspace))
    with _sentences():
        typer.echo(mint(settings, found.id, subject, wanted, lifetime, admin=admin))


async def _workspace(settings: Settings, name: str) -> Workspace:
    """The workspace of this name. Writes only when there is none, beside a server that may be running."""
    async with current_database(settings) as database:
        async with database.read() as session:
            found = await workspaces.by_name(session, name)
        if found is not None:
            return found
        async with database.write() as session:
            found, made = await workspaces.find_or_create(session, name)
        if made:
            err.print(f"Made the workspace {name}.", markup=False)
        return found


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _ready() -> tuple[Settings, Path | None]:
    """Settings with their keys, the key file if it was made just now, and logs that know the keys."""
    settings, made = keys.provide(Settings.load())
    vault = Vault.parse(settings.secret_keys.get_secret_value() if settings.secret_keys else "")
    logs.configure(settings.log_level, settings.log_format, fingerprint=lambda to: vault.fingerprint(to, "recipient"))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return settings, made


if __name__ == "__main__":
    main()
