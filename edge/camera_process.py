"""The parent's side of a camera process: starts it, hands its lines to the cameras' desks, ends it.

Whatever the process does, it reaches nothing but its own cameras, and each of them is told as blind when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.camera_desk import CameraDesk
from edge.camera_report import CameraOrder, CameraReport
from edge.camera_task import WatchTask

logger = logging.getLogger(__name__)
LINE_BYTES_MAX = 64 * 1024
END_S = 4.0  # the camera process ends itself END_S - 1 s after its input closed, see edge/camera.py
KILL_S = 1.0
SILENT_S = 30.0  # statistics come every ten to fifteen seconds, pictures or not
COMMAND = (sys.executable, "-m", "edge.camera")
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)


class CameraProcessError(OSError):
    """A camera process died or fell silent. ``crashed``: in native code, or it hangs there; ``failed``: in ours."""

    def __init__(self, message: str, *, crashed: bool, failed: bool) -> None:
        super().__init__(message)
        self.crashed = crashed
        self.failed = failed


class CameraProcess:
    """One process for the cameras of *desks*. ``misconfigured`` is told the id of a camera that it cannot watch."""

    def __init__(
        self,
        desks: Sequence[CameraDesk],
        *,
        crumbs_file: Path,
        misconfigured: Callable[[str], None] = lambda _: None,
        command: Sequence[str] | None = None,
        silent_s: float = SILENT_S,
        end_s: float = END_S,
    ) -> None:
        self._desks = {desk.camera_id: desk for desk in desks}
        self._crumbs_file = crumbs_file
        self._misconfigured = misconfigured
        self._complaint = ""  # the last word of a process whose cameras are all misconfigured
        self._command = command or COMMAND
        self._silent_s = silent_s
        self._end_s = end_s
        self._stdin: asyncio.StreamWriter | None = None
        self._asked: dict[str, asyncio.Future[CameraReport]] = {}

    async def run(self) -> None:
        """Run one process to its end; raises CameraProcessError when it dies or falls silent."""
        try:
            await self._watch()
        except (TimeoutError, ValueError, OSError) as error:
            reason = str(error) or f"its process was silent for {self._silent_s:.0f} s"
            for desk in self._desks.values():
                await desk.tell_blind(reason)
            crashed = isinstance(error, TimeoutError) or getattr(error, "crashed", False)
            failed = getattr(error, "failed", False)
            names = ", ".join(self._desks)
            raise CameraProcessError(f"camera {names}: {reason}", crashed=crashed, failed=failed) from error

    async def _watch(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(self._task().encode() + b"\n")
            await process.stdin.drain()
            self._stdin = process.stdin
            while line := await self._line(process.stdout):
                await self._take(line)
            status = await _status(process)
            reason = self._complaint or f"its process ended with status {status}"
            ended = status if isinstance(status, int) else 0
            raise CameraProcessError(reason, crashed=-ended in CRASHES, failed=ended > 0 and not self._complaint)
        finally:
            self._stdin = None
            for answer in self._asked.values():
                answer.cancel()
            process.stdin.close()
            await _end(process, self._end_s)

    async def ask(self, order: CameraOrder, within_s: float) -> CameraReport | None:
        """The process's answer to *order*; None when there is none in time, or no process."""
        if self._stdin is None:
            return None
        answer = self._asked[order.order_id] = asyncio.get_running_loop().create_future()
        try:
            self._stdin.write(order.model_dump_json().encode() + b"\n")
            await self._stdin.drain()
            await asyncio.wait([answer], timeout=within_s)
        except OSError:
            return None
        finally:
            del self._asked[order.order_id]
        return answer.result() if answer.done() and not answer.cancelled() else None

    async def _line(self, stdout: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._silent_s):  # not wait_for, which may lose a cancellation in Python 3.11
            return await stdout.readline()

    def _task(self) -> str:
        self._crumbs_file.parent.mkdir(parents=True, exist_ok=True)
        cameras = tuple(desk.task() for desk in self._desks.values())
        return WatchTask(cameras=cameras, crumbs_file=self._crumbs_file).model_dump_json(by_alias=True)

    async def _take(self, line: bytes) -> None:
        try:
            report = CameraReport.model_validate_json(line)
            desk = self._desks[report.camera]
        except (ValueError, KeyError) as error:
            raise ValueError("its process said something that is no report") from error
        if report.type == "misconfigured":
            self._complaint = f"its configuration cannot work: {report.reason}"
            await desk.tell_blind(self._complaint)
            self._misconfigured(report.camera)
            return
        self._complaint = ""
        if report.type == "looked":
            self._answer(report, desk)
        else:
            await desk.take(report)

    def _answer(self, report: CameraReport, desk: CameraDesk) -> None:
        desk.wake()
        answer = self._asked.get(report.order_id or "")
        if answer is not None and not answer.done():
            answer.set_result(report)


async def _status(process: asyncio.subprocess.Process) -> int | str:
    """The exit status, or that it lives on although its output ended."""
    try:
        async with asyncio.timeout(KILL_S):
            return await process.wait()
    except TimeoutError:
        return "unknown: only its output ended"


async def _end(process: asyncio.subprocess.Process, end_s: float) -> None:
    """Wait for the process to notice that its input closed; kill it when it does not. Never longer than both bounds.

    Its output is read away meanwhile: `Process.wait` returns only once the pipe is at its end, which a full one
    never is, nor one that a grandchild still holds.
    """
    drain = asyncio.create_task(_drain(process.stdout))
    try:
        async with asyncio.timeout(end_s):
            await process.wait()
    except TimeoutError:
        logger.warning("camera process %d did not end in %.0f s and is killed", process.pid, end_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # also when this wait itself is cancelled; no effect on a process that has ended
        try:
            async with asyncio.timeout(KILL_S):
                await process.wait()
        except TimeoutError:
            logger.error("camera process %d is dead or dying, but something holds its output", process.pid)
        finally:
            drain.cancel()
            process._transport.close()  # type: ignore[attr-defined]  # no public way to let a held pipe go


async def _drain(stdout: asyncio.StreamReader | None) -> None:
    while stdout is not None and await stdout.read(LINE_BYTES_MAX):
        pass
