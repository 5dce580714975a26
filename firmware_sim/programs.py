"""Programs that run beside each other, each in a session of its own, with a log, and none left behind.

Used by the demo and by the scenario tests: what is tested is what the demo starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

START_S = 60.0
END_S = 20.0


class ProgramError(Exception):
    """A program did not come up; the message says which and where its log is."""


class Programs:
    """Running programs, ended in reverse order. Their logs are ``<folder>/<name>.log``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[str]] = {}

    def run(self, name: str, *command: str, text: str = "") -> str:
        """Run a program to its end; gives what it printed. Raises ProgramError."""
        done = self._complete(command, text)
        if done.returncode != 0:
            raise ProgramError(
                f"{name} failed with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout.strip()

    def start(self, name: str, *command: str, announces: bool = True, **environment: str) -> dict[str, str]:
        """Start a program and, if it announces itself with a JSON line, wait for that line. Raises ProgramError."""
        log = (self._folder / f"{name}.log").open("a")
        with log:
            process = self._begin(command, log, announces, {**os.environ, **environment})
        self._running[name] = process
        if not announces:
            return {}
        assert process.stdout is not None
        line = _first_line(process.stdout, START_S)
        if not line:
            raise ProgramError(f"{name} did not start; its log is {self._folder / name}.log")
        answer: dict[str, str] = json.loads(line)
        return answer

    def _complete(self, command: tuple[str, ...], text: str) -> subprocess.CompletedProcess[str]:
        """Here and in `_begin` a test starts programs in a way of its own."""
        return subprocess.run(_python(*command), input=text, capture_output=True, text=True, check=False, timeout=120)

    def _begin(
        self, command: tuple[str, ...], log: IO[str], announces: bool, environment: dict[str, str]
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            _python(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if announces else log, stderr=log,
            text=True, env=environment, start_new_session=True,
        )  # fmt: skip

    def pid(self, name: str) -> int:
        """The process id of a running program."""
        return self._running[name].pid

    def dead(self) -> list[str]:
        """The programs that ended though nobody asked them to."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def end(self, name: str) -> None:
        """SIGTERM, then SIGKILL to its whole group."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"{name} did not end in {END_S:.0f} s and was killed\n")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def kill(self, name: str) -> None:
        """SIGKILL to the program alone, as a power cut would end it; its children notice by themselves."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def end_all(self) -> None:
        for name in reversed(list(self._running)):
            self.end(name)


def _python(*command: str) -> list[str]:
    return [sys.executable, "-m", *command]


def _first_line(stream: IO[str], timeout_s: float) -> str:
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(timeout_s)
    return lines[0] if lines else ""
