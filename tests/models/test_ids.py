"""Identifiers: opaque, URL-safe, and in order of creation."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models import ids

SHAPE = re.compile(r"msg_[0-9a-f]{32}")


def test_the_shape() -> None:
    made = ids.new_id(ids.MESSAGE)
    assert SHAPE.fullmatch(made)
    number = made.removeprefix("msg_")
    assert number[12] == "7" and number[16] in "89ab"  # version and variant of RFC 9562
    assert abs(int(number[:12], 16) - time.time() * 1000) < 2_000


def test_they_strictly_increase_within_a_process() -> None:
    made = [ids.new_id("evt") for _ in range(20_000)]
    assert made == sorted(made) and len(set(made)) == len(made)


def test_they_are_unique_among_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [one for many in pool.map(lambda _: [ids.new_id("evt") for _ in range(2_000)], range(8)) for one in many]
    assert len(set(made)) == 16_000


def test_another_process_makes_others() -> None:
    code = "from models import ids; print(*(ids.new_id('msg') for _ in range(500)))"
    root = Path(__file__).resolve().parents[2]
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True) for _ in range(2)
    ]
    made = [one for run in runs for one in run.stdout.split()]
    assert len(set(made)) == 1_000 and made == sorted(made)


def test_prefixes() -> None:
    assert ids.prefix_of(ids.new_id(ids.CONNECTOR)) == "con"
    for text in ("", "msg", "msg_", "msg_1", "nothing at all", "_" * 33 + "x"):
        assert ids.prefix_of(text) == "", text
