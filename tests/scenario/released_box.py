"""A box and its service manager: released_box.py CONFIG KILL_FILE; SIGTERM ends both.

The box is started again whenever it ends. KILL_FILE, while it is there, holds a step of a release before or after which
the box is killed, once. A configuration with a limit of 5 °C kills the box at each start.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from edge import cli, release_fetch
from edge.release_desk import ReleaseDesk
from edge.releases import ReleaseFolder

FATAL_C = 5.0
STEPS: dict[str, tuple[Any, str, bool]] = {  # whose method, and whether the box dies after it
    "piece": (release_fetch, "_append", True),
    "download": (ReleaseDesk, "_check", False),
    "rename": (ReleaseFolder, "install", True),
    "start": (ReleaseFolder, "count_start", True),
    "confirmation": (ReleaseFolder, "confirm", False),
}


def prepare_kill(kill: Path, step: str) -> None:
    owner, name, after = STEPS[step]
    method: Callable[..., Any] = getattr(owner, name)

    def deadly(*arguments: Any) -> Any:
        wanted = kill.exists() and kill.read_text() == step
        result = None if wanted and not after else method(*arguments)
        if wanted:
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


def prepare_fatal_limit() -> None:
    load = cli.start_in_force

    def load_or_die(path: Path) -> Any:
        config = load(path)
        if any(limit.high_c == FATAL_C for limit in config.limits):
            os.kill(os.getpid(), signal.SIGKILL)
        return config

    cli.start_in_force = load_or_die


def run_box(config: str, kill: Path) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for step in STEPS:
        prepare_kill(kill, step)
    prepare_fatal_limit()
    return cli.main(["run", config])


def main() -> None:
    config, kill = sys.argv[1], Path(sys.argv[2])
    ended = False
    child = 0

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        if child:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    while not ended:
        child = os.fork()
        if not child:
            os._exit(run_box(config, kill))
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
