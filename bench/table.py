"""What was measured, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One number, and how it stands to another of the same run."""

    measure: str
    subject: str
    value: float
    unit: str
    ratio: float | None = None
    against: str = ""
    goal: str = ""

    def cells(self) -> tuple[str, ...]:
        value = f"{self.value:,.0f}" if self.value >= 100 else f"{self.value:,.2f}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return self.measure, self.subject, f"{value} {self.unit}", ratio, self.against, self.goal


def table(rows: Sequence[Row]) -> Table:
    made = Table("measure", "of", title="Patchbay, side by side", title_justify="left")
    for name in ("value", "ratio"):
        made.add_column(name, justify="right")
    made.add_column("to")
    made.add_column("goal")
    before = ""
    for row in rows:
        measure, *rest = row.cells()
        if before and measure != before:
            made.add_section()
        made.add_row("" if measure == before else measure, *rest)
        before = measure
    return made
