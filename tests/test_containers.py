"""What Dockerfile, compose.yaml and README.md say of containers exists: no engine is needed to find out."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.cli import app
from gateway.graphiql import EXAMPLES
from gateway.settings import Settings, variable
from tests.readme import README, ROOT
from tests.test_house import ROOMS, tracked

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
GUIDE = README.read_text().partition("\n### With Docker\n")[2].partition("\n## ")[0]
IGNORE = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
TAKEN = {line[1:] for line in IGNORE if line.startswith("!")}
SETTINGS = {variable(name): name for name in Settings.model_fields}


def takes(command: str) -> bool:
    """Whether `patchbay` has this command with these options."""
    name, *options = command.split()
    found = get_command(app).commands.get(name)  # type: ignore[attr-defined]
    known = {word for each in found.params for word in (*each.opts, *each.secondary_opts)} if found else set()
    return found is not None and set(options) <= known


def test_the_image_is_sent_what_is_named_and_nothing_else() -> None:
    assert IGNORE[0] == "*"
    assert {name for name in TAKEN if not tracked(name, f"{name}/*")} == set()
    assert {*ROOMS, EXAMPLES.name, "LICENSE", "patchbay", "requirements.lock"} <= TAKEN
    assert TAKEN & {".env", ".git", ".venv", "data", "tests"} == set()


def test_the_image_copies_what_it_is_sent() -> None:
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*$", DOCKERFILE, re.MULTILINE)]
    assert {name for names in copied for name in names} - {"."} <= TAKEN
    assert re.findall(r"compileall -q (.+)", DOCKERFILE)[0].split() == sorted(ROOMS)


def test_the_image_sets_what_is_there_to_be_set() -> None:
    assert {*re.findall(r"\bPATCHBAY_[A-Z_]+", DOCKERFILE)} <= {*SETTINGS}
    assert takes(re.findall(r'CMD \["(\w+)"\]', DOCKERFILE)[0])


def test_compose_sets_what_is_there_to_be_set() -> None:
    named = {*re.findall(r"\bPATCHBAY_[A-Z_]+", COMPOSE)}
    assert {"PATCHBAY_DATABASE_URL", "PATCHBAY_BUS_URL"} <= named <= {*SETTINGS}


def test_compose_runs_commands_that_are_there() -> None:
    ours = [command for command in re.findall(r"command: (.+)", COMPOSE) if not command.startswith("redis-server")]
    assert ours == ["serve --no-worker", "worker"]
    assert all(takes(command) for command in ours)


def test_compose_asks_for_health_where_it_is_told() -> None:
    port = re.findall(r"PATCHBAY_METRICS_PORT: (\d+)", COMPOSE)
    served = [str(Settings.model_fields["port"].default)]
    assert re.findall(r"127\.0\.0\.1:(\d+)/readyz", COMPOSE) == served + port
    assert re.findall(r"EXPOSE (\d+)", DOCKERFILE) == served


def test_compose_lets_processes_drain() -> None:
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    assert int(grace) > Settings.model_fields["drain_seconds"].default


def test_the_guide_runs_commands_that_are_there() -> None:
    services = re.findall(r"^  ([\w-]+):", COMPOSE.partition("\nservices:\n")[2], re.MULTILINE)
    asked = re.findall(r"docker compose (?:run --rm|exec) ([\w-]+) (?:patchbay )?(\w+)", GUIDE)
    assert len(asked) == 2
    assert [each for each in asked if each[0] not in services or not takes(each[1])] == []


def test_the_guide_makes_an_env_that_compose_and_patchbay_take(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (making,) = (found for found in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) if ".env <<" in found)
    subprocess.run(["sh", "-eu", "-c", making], cwd=tmp_path, check=True)
    file = tmp_path / ".env"
    made = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert file.stat().st_mode & 0o777 == 0o600
    assert {*re.findall(r"\$\{(\w+):\?", COMPOSE)} == {*made} - {*SETTINGS} == {"POSTGRES_PASSWORD"}
    settings = Settings.load(file)
    assert settings.secret_keys is not None and settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == made["PATCHBAY_JWT_SECRET"]
