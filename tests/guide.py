"""README.md of channels/, and a copy of the checkout in which it is followed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.test_house import ROOT, tracked

FIRST, SECOND = (ROOT / "channels" / "README.md").read_text().split("\n# How a provider gets a new version\n")
BLOCK = re.compile(r"<!-- (\S+) -->\n```(python|diff)\n(.*?)```\n", re.DOTALL)
STEP = re.compile(r"^## \d+\. `(.+)`$", re.MULTILINE)
OLDER = re.compile(r"_\d+(?=\.py$)")
NEEDED = ("*.py", "pyproject.toml", "schema/schema.graphql", "gateway/static", "models/migrations")


class Checkout:
    """A copy of what git tracks, to be changed and run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for path in tracked(*NEEDED):
            target = directory / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        self._git("init", "-q")
        self._git("add", "-A")

    def follow(self, part: str) -> list[str]:
        """Do what the blocks of a part say; the files they are of."""
        blocks = BLOCK.findall(part)
        for name, kind, code in blocks:
            if kind == "diff":
                shutil.copyfile(self.directory / OLDER.sub("", name), self.directory / name)
                self._git("apply", "-", given=code)
            else:
                self._write(name, code)
        self.run("-m", "ruff", "check", "-q", "--no-cache", "--fix", "channels/__init__.py")
        return [name for name, _kind, _code in blocks]

    def _write(self, name: str, code: str) -> None:
        """A file of the guide; a module that is there already is given the import and the name in PROVIDERS."""
        path = self.directory / name
        if path.exists():
            provider = code.split()[-1]
            text = path.read_text()
            code = text.replace("\nPROVIDERS", f"{code}\nPROVIDERS", 1).replace("] = (\n", f"] = (\n    {provider},\n", 1)
        path.write_text(code)

    def touched(self) -> list[str]:
        """The files that differ from what was copied."""
        return self._git("ls-files", "--modified", "--others", "--exclude=__pycache__").splitlines()

    def run(self, *arguments: str) -> str:
        """Run Python there to its end; what it printed."""
        ended = subprocess.run([sys.executable, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def _git(self, *arguments: str, given: str = "") -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=self.directory, input=given, check=True, capture_output=True, text=True).stdout
