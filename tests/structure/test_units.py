"""The systemd units that configs/ ships: what they start exists, and what the programs promise is what they use."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "configs" / "systemd"
MODULES = {"brightline-edge": "edge.cli", "brightline-server": "server.cli"}


def settings(unit: Path) -> dict[str, str]:
    """Key → value of every assignment; a key twice is an error here."""
    found: dict[str, str] = {}
    for line in unit.read_text("utf-8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            assert key not in found or key == "LoadCredential", f"{unit.name}: {key} stands twice"
            found[key] = value
    return found


@pytest.mark.parametrize("unit", sorted(UNITS.iterdir()), ids=lambda path: path.name)
def test_unit_starts_a_command_that_exists_with_options_that_it_knows(unit: Path) -> None:
    program, *arguments = shlex.split(settings(unit)["ExecStart"])
    module = MODULES[Path(program).name]
    options = [word for word in arguments if word.startswith("--")]
    done = subprocess.run(
        [sys.executable, "-m", module, arguments[0], "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert [option for option in options if option not in done.stdout] == []


@pytest.mark.parametrize("unit", sorted(UNITS.iterdir()), ids=lambda path: path.name)
def test_unit_restarts_faults_but_not_a_wrong_configuration_and_runs_with_least_privilege(unit: Path) -> None:
    found = settings(unit)
    assert (found["Restart"], found["RestartPreventExitStatus"]) == ("always", "2")
    assert found["User"] != "root"
    assert (found["NoNewPrivileges"], found["ProtectSystem"], found["UMask"]) == ("yes", "strict", "0077")
    assert int(found["TimeoutStopSec"]) > 14, "the box ends by itself 13 s after SIGTERM at the latest"


def test_the_box_is_watched_by_the_watchdog_that_it_feeds() -> None:
    found = settings(UNITS / "brightline-edge.service")
    assert found["Type"] == "notify"
    assert int(found["WatchdogSec"]) <= 60
