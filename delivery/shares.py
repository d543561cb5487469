"""Who may send how much: the free slots of a worker, given out among the lanes that have work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from models.busy import BusyLane
from models.queue import OTP

MOST = 256
LEAST_URGENT_FIRST = 8  # every so many passes, so that nothing starves
GENEROSITY = 4  # times its part: few lanes have as much as they may take


class Share(NamedTuple):
    """How much may be taken of a lane: of any kind, and of one-time passwords. Those may be there behind a suspect."""

    lane: BusyLane
    common: int
    urgent: int


def among(lanes: Sequence[BusyLane], slots: int, taken: int, number: int, spare: int) -> list[Share]:
    """Of a worker's `slots`, of which some are `taken`, in its pass of this `number`. Workspaces share alike, then each one's
    lanes. A fifth of the slots is for one-time passwords alone; of others no more than the `spare` are taken."""
    of_workspace = Counter(lane.workspace_id for lane in lanes)
    free, common_free = slots - taken, max(0, min(spare, max(1, slots * 4 // 5) - taken))
    shares = []
    for lane in _ordered(lanes, number):
        fair = max(1, GENEROSITY * free // (len(of_workspace) * of_workspace[lane.workspace_id]))
        urgent = min(free, fair, MOST) if lane.top <= OTP else 0
        common = min(common_free, fair, MOST)
        free -= max(urgent, common)
        common_free -= common
        if urgent or common:
            shares.append(Share(lane, common, urgent))
    return shares


def _ordered(lanes: Sequence[BusyLane], number: int) -> list[BusyLane]:
    """The most urgent first, and among equals one of each workspace in turn: many lanes are no more weight than one."""
    seen: Counter[tuple[str, int]] = Counter()
    places = []
    for lane in lanes:
        places.append((lane.top, seen[lane.workspace_id, lane.top]))
        seen[lane.workspace_id, lane.top] += 1
    if number % LEAST_URGENT_FIRST == 0:
        places = [(-top, turn) for top, turn in places]
    return [lane for _place, lane in sorted(zip(places, lanes, strict=True), key=lambda entry: entry[0])]
