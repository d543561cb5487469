"""The command line as an operator meets it: a process, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PATCHBAY = (sys.executable, "-m", "gateway")
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The only line of a refusal: no traceback, nothing else."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        return line

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """The environment of a private installation: nothing of the developer's own, a free port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PATCHBAY_")}
    given = {"DATA_DIR": str(data_dir), "PORT": "0", **settings}
    return {**inherited, **{f"PATCHBAY_{name}": value for name, value in given.items()}}


def patchbay(data_dir: Path, *arguments: str, **settings: str) -> Ended:
    """Run `patchbay` to its end."""
    return run([*PATCHBAY, *arguments], environment(data_dir, **settings))


def run(command: Sequence[str], env: dict[str, str]) -> Ended:
    """Run a command to its end."""
    ended = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=START_SECONDS)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


class Serving:
    """A server that is up; `lines` is what it printed."""

    def __init__(self, process: subprocess.Popen[str], lines: list[str], log: Path) -> None:
        self.process = process
        self.lines = lines
        self.url = next(line for line in lines if "listens on" in line).split()[-1]
        self._log = log

    @property
    def token(self) -> str:
        return self.lines[-1]

    @property
    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def ask(self, query: str, token: str) -> Any:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", json.dumps({"query": query}).encode(), headers)
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Signal the process; its exit status, and the seconds it took to go."""
        begun = time.perf_counter()
        self.process.send_signal(number)
        return self.process.wait(20), time.perf_counter() - begun


@contextmanager
def serving(data_dir: Path, *arguments: str, **settings: str) -> Iterator[Serving]:
    """`patchbay serve`, up and listening, killed at the end if it is still there."""
    log = data_dir.with_name(f"{data_dir.name}.log")
    command = [*PATCHBAY, "serve", *arguments]
    with log.open("w") as err:
        process = subprocess.Popen(
            command, env=environment(data_dir, **settings), cwd=ROOT, stdout=subprocess.PIPE, stderr=err, text=True
        )
    with process:
        try:
            yield Serving(process, _greeting(process, log), log)
        finally:
            process.kill()


def _greeting(process: subprocess.Popen[str], log: Path) -> list[str]:
    """What it prints until the token, its last line."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("ey"):
        line = process.stdout.readline()
        assert line, f"it did not start: {lines} {log.read_text()}"
        lines.append(line.rstrip("\n"))
    return lines
