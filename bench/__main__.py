"""`python -m bench`: measure, and print one table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from bench import accept, callbacks, drain, graphql, growth, urgent
from bench.installation import POSTGRESQL, SQLITE, Engine
from bench.table import Row, table

NAMES = ("accept", "drain", "urgent", "callbacks", "growth", "graphql")
out = Console(width=150)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which to run, of {', '.join(NAMES)}; all without.")] = None,
    postgresql: Annotated[
        str | None, typer.Option(help="A server where databases may be made, as in postgresql://postgres@127.0.0.1:5432.")
    ] = None,
    sqlite: Annotated[bool, typer.Option(help="Measure on SQLite.")] = True,
    apprise: Annotated[str | None, typer.Option(help="The python of an environment with Apprise; left out without.")] = None,
    messages: Annotated[int, typer.Option(min=100, help="How many messages to drain, and to tell of.")] = 20_000,
    bulk: Annotated[int, typer.Option(min=100, help="How many bulk messages drain beside one-time passwords.")] = 20_000,
    passwords: Annotated[int, typer.Option(min=2, help="How many one-time passwords to send.")] = 100,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to accept messages.")] = 10.0,
    sockets: Annotated[int, typer.Option(min=1, help="How many subscribers an event has.")] = 1_000,
    grow: Annotated[int, typer.Option(min=1_000, help="How far the tables grow, by tens from 1,000.")] = 100_000,
) -> None:
    """Measure Patchbay beside its peers in one run. Only the ratios mean something: the times are this machine's."""
    if unknown := set(names or ()) - set(NAMES):
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    engines = [Engine(SQLITE)] * sqlite + ([Engine(POSTGRESQL, postgresql)] if postgresql else [])
    if not engines:
        raise typer.BadParameter("--no-sqlite needs --postgresql")
    sizes = [size for size in (10**3, 10**4, 10**5, 10**6, 10**7) if size <= grow]
    runs = {
        "accept": accept.measure(engines, seconds),
        "drain": drain.measure(engines, messages, apprise),
        "urgent": urgent.measure(engines, bulk, passwords),
        "callbacks": callbacks.measure(engines, messages),
        "growth": growth.measure(engines, sizes),
        "graphql": graphql.measure(engines, seconds, sockets),
    }
    if "graphql" in (names or NAMES) and (reason := graphql.missing()):
        out.print(reason, style="yellow")
    rows = uvloop.run(_collected([run for name, run in runs.items() if not names or name in names]))
    out.print(table(rows))


async def _collected(runs: list[AsyncIterator[Row]]) -> list[Row]:
    rows = []
    for run in runs:
        async for row in run:
            out.print("  ".join(filter(None, row.cells())), style="dim", highlight=False)
            rows.append(row)
    return rows


if __name__ == "__main__":
    typer.run(main)
