from __future__ import annotations

import sys
from pathlib import Path

from gateway.demo import NAMES
from tests.commands import environment, run


def test_the_demo_sends_ten_mails_shows_each_step_and_ends_well(tmp_path: Path) -> None:
    # A real installation's settings are in the environment: none of them may be touched.
    real = {"DATABASE_URL": "postgresql://127.0.0.1:1/real", "JWT_JWKS_URL": "https://idp.example.com/keys", "WORKER": "false"}
    ended = run([sys.executable, "-W", "error", "-m", "gateway.demo"], environment(tmp_path / "data", **real))
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    received = lines[lines.index("The mail server received:") + 1 :]
    assert sorted(received) == sorted(["  Patchbay test message", *(f"  Welcome, {name}" for name in NAMES)])
    assert "Connector Demo mail is ACTIVE" in lines
    for name in NAMES:
        told = [line.split()[1] for line in lines if line.startswith(f"  {name.lower()}@example.com")]
        assert told == ["QUEUED", "PROCESSING", "SENT"]
    assert not (tmp_path / "data").exists()
