"""Brightline's programs as processes of their own that begin warm: forked from one that has imported them already.

An import of the centre costs two seconds of a core, and the tests start it some hundred times. From there on all is as
with ``python -m``: arguments, environment, streams, signals, exit status. That programs start cold as well is shown by
tests/server/test_cli.py and the demo; what tests/load measures is started cold.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO

from firmware_sim.programs import Programs

ROOT = Path(__file__).resolve().parents[1]
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.warm_modules"])


class _Streams:
    """Three descriptors on their way into another process."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self.descriptors = list(descriptors)

    def __getstate__(self) -> list[object]:
        return [DupFd(descriptor) for descriptor in self.descriptors]

    def __setstate__(self, state: list[DupFd]) -> None:
        self.descriptors = [copy.detach() for copy in state]


def _become(
    module: str, arguments: Sequence[str], streams: _Streams, environment: Mapping[str, str], alone: bool
) -> None:
    """What the fork runs: what ``python -m`` would from its first line on."""
    for number, descriptor in enumerate(streams.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if alone:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    sys.exit(importlib.import_module(module).main(list(arguments)))


class WarmProcess:
    """What of `subprocess.Popen` the tests use, for ``python -m <module> <arguments>`` in the root of the repository.

    Streams are descriptors; *stdout* may be `subprocess.PIPE`. Ended with the tests at the latest.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        stdin: int | None = None,
        stdout: int = 1,
        stderr: int = 2,
        environment: Mapping[str, str] | None = None,
        alone: bool = False,
    ) -> None:
        self.args = (module, *arguments)
        self.stdout: IO[str] | None = None
        self._polling = threading.Lock()
        with contextlib.ExitStack() as ours:
            if stdin is None:
                stdin = ours.enter_context(Path(os.devnull).open()).fileno()
            if stdout == subprocess.PIPE:
                said, stdout = os.pipe()
                self.stdout = os.fdopen(said, encoding="utf-8")
                ours.callback(os.close, stdout)
            given = (module, arguments, _Streams((stdin, stdout, stderr)), dict(environment or os.environ), alone)
            self._process = _forks.Process(target=_become, args=given, daemon=True)
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with self._polling:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired."""
        if self.poll() is None:
            wait_for_any([self._process.sentinel], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_warm(
    module: str, *arguments: str, text: str = "", environment: Mapping[str, str] | None = None, timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Raises subprocess.TimeoutExpired, with the program killed."""
    with contextlib.ExitStack() as files:
        read, out, err = (files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3))
        read.write(text)
        read.seek(0)
        process = WarmProcess(
            module, *arguments, stdin=read.fileno(), stdout=out.fileno(), stderr=err.fileno(), environment=environment
        )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(process.args, status, out.read(), err.read())


class WarmPrograms(Programs):
    """The demo's programs, started warm."""

    def _complete(self, command: tuple[str, ...], text: str) -> subprocess.CompletedProcess[str]:
        return run_warm(*command, text=text, timeout_s=120)

    def _begin(
        self, command: tuple[str, ...], log: IO[str], announces: bool, environment: dict[str, str]
    ) -> WarmProcess:
        out = subprocess.PIPE if announces else log.fileno()
        return WarmProcess(*command, stdout=out, stderr=log.fileno(), environment=environment, alone=True)
