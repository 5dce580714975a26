"""The parent's side of one camera: starts the camera process, turns its lines into events, restarts it when it dies.

Open incidents are saved with the events that opened them and handed to the next camera process, so neither a
crash in native code nor a restart of the box opens an incident twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.camera_metrics import metrics_text, write_metrics
from edge.config_cameras import Camera
from edge.rules import new_id
from telemetry.messages import Event, EventType, Scalar, Severity

if TYPE_CHECKING:
    from edge.camera import CameraReport

logger = logging.getLogger(__name__)
LINE_BYTES_MAX = 64 * 1024
END_S = 4.0  # the camera process ends itself END_S - 1 s after its input closed, see edge/camera.py
KILL_S = 1.0
ROWS_MAX = 64  # what one event carries; a camera has at most 32 violations
SILENT_S = 30.0  # statistics come every ten to fifteen seconds, pictures or not
COMMAND = (sys.executable, "-m", "edge.camera")
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


class CameraProcess:
    """One camera; ``run`` is a supervised service."""

    def __init__(
        self,
        camera: Camera,
        *,
        box_id: str,
        key_file: Path,
        spool_dir: Path,
        saved: str | None,
        record: Record,
        wake: Callable[[], None],
        command: Sequence[str] | None = None,
        silent_s: float = SILENT_S,
        end_s: float = END_S,
    ) -> None:
        self._camera = camera
        self._box_id = box_id
        self._key_file = key_file
        self._spool_dir = spool_dir
        self._metrics_dir = spool_dir.parent / "metrics"
        self._mute = False  # the loss of the metrics file was told
        self._record = record
        self._wake = wake
        self._command = command or COMMAND
        self._silent_s = silent_s
        self._end_s = end_s
        self.stats: CameraReport | None = None  # the last figures of its process
        self.open: dict[str, str] = json.loads(saved) if saved else {}  # kind, or kind@zone → incident id

    @property
    def state_key(self) -> str:
        return f"camera/{self._camera.id}"

    async def run(self) -> None:
        """Run one camera process to its end; raises OSError when it dies or falls silent."""
        try:
            await self._watch()
        except (TimeoutError, ValueError, OSError) as error:
            reason = str(error) or f"its process was silent for {self._silent_s:.0f} s"
            await self._tell_blind(reason)
            raise OSError(f"camera {self._camera.id}: {reason}") from error

    async def _watch(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(self._task().encode() + b"\n")
            await process.stdin.drain()
            while line := await self._line(process.stdout):
                await self._take(line)
            raise OSError(f"its process ended with status {await _status(process)}")
        finally:
            process.stdin.close()
            await _end(process, self._end_s)

    async def _line(self, stdout: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._silent_s):  # not wait_for, which may lose a cancellation in Python 3.11
            return await stdout.readline()

    def _task(self) -> str:
        from edge.camera import CameraTask

        return CameraTask(
            box_id=self._box_id,
            camera=self._camera,
            key_file=self._key_file,
            spool_dir=self._spool_dir,
            open_incidents={key: incident for key, incident in self.open.items() if key != "camera_blind"},
        ).model_dump_json(by_alias=True)

    async def _take(self, line: bytes) -> None:
        from edge.camera import CameraReport

        try:
            report = CameraReport.model_validate_json(line)
        except ValueError as error:
            raise ValueError("its process said something that is no report") from error
        if report.type.startswith("violation") and (report.kind is None or report.incident_id is None):
            raise ValueError("its process reported a violation without kind or incident")
        if report.type == "misconfigured":
            raise OSError(f"its configuration cannot work: {report.reason}")
        await self._keep(lambda: self._events(report))
        if report.type in ("stats", "camera_blind", "camera_recovered"):
            await self._show()

    async def _show(self) -> None:
        """Keep the metrics file up to date; a full disk must not stop the watch."""
        text = metrics_text(self._camera.id, self.stats, sees="camera_blind" not in self.open)
        try:
            await asyncio.to_thread(write_metrics, self._metrics_dir, self._camera.id, text)
        except OSError as error:
            if not self._mute:
                logger.warning("camera %s: its metrics cannot be written: %s", self._camera.id, error)
            self._mute = True
        else:
            self._mute = False

    async def _keep(self, make_events: Callable[[], list[Event]]) -> None:
        """Record events and the incidents they leave open as one; when that fails, nothing has happened."""
        before = dict(self.open)
        try:
            events = make_events()
            if events:
                await self._record(events, {self.state_key: json.dumps(self.open)})
                self._wake()
        except BaseException:
            self.open = before
            raise

    def _events(self, report: CameraReport) -> list[Event]:
        at = report.at or datetime.now(UTC)
        if report.type == "stats":
            self.stats = report
            return []
        if report.type in ("coverage", "model_changed"):
            return [self._coverage(report, at) if report.type == "coverage" else self._model_changed(report, at)]
        if report.type.startswith("violation"):
            return [self._violation(report, at)]
        if report.type == "camera_blind":
            return self._blind(at, report.reason or "")
        incident = self.open.pop("camera_blind", None)
        if incident is None:
            return []
        logger.info("camera %s sees again", self._camera.id)
        return [self._event("camera_recovered", incident, "camera_blind", "info", at, {})]

    def _violation(self, report: CameraReport, at: datetime) -> Event:
        assert report.kind is not None
        assert report.incident_id is not None
        key = f"{report.kind}@{report.zone}" if report.zone else report.kind
        data: dict[str, Scalar | list[str]] = {"zone": report.zone} if report.zone else {}
        if report.type == "violation_updated":
            data["evidence"] = report.evidence
            return self._event("violation_updated", report.incident_id, report.kind, "warning", at, data)
        if report.type == "violation_closed":
            self.open.pop(key, None)
            data["reason"] = report.reason
            return self._event("violation_closed", report.incident_id, report.kind, "info", at, data)
        self.open[key] = report.incident_id
        logger.warning("camera %s: %s confirmed (%.0f %%)", self._camera.id, key, 100 * (report.confidence or 0))
        data |= {
            "confidence": report.confidence,
            "duration_s": report.duration_s,
            "model_sha256": report.model_sha256,
            "evidence": report.evidence,
        }
        return self._event("violation_opened", report.incident_id, report.kind, "warning", at, data)

    def _coverage(self, report: CameraReport, at: datetime) -> Event:
        """How long was judged: one record each quarter of an hour, not an incident. Rows: kind, zone, due, judged."""
        data: dict[str, Scalar | list[str]] = {
            "started_at": report.started_at.isoformat() if report.started_at else None,
            "blind_s": report.blind_s,
            "rows": [
                f"{row.kind} {row.zone or '-'} {row.due_s:.1f} {row.judged_s:.1f}" for row in report.coverage[:ROWS_MAX]
            ],
        }
        return self._event("coverage", new_id(), "coverage", "info", at, data)

    def _model_changed(self, report: CameraReport, at: datetime) -> Event:
        """A model was promoted or taken back: who reads verdicts later must know which model gave them."""
        logger.warning("camera %s: its model was %s: %s", self._camera.id, report.kind, report.reason)
        data: dict[str, Scalar | list[str]] = {
            "change": report.kind, "model_sha256": report.model_sha256, "reason": report.reason
        }  # fmt: skip
        return self._event("box_status", new_id(), "model", "info", at, data)

    def _blind(self, at: datetime, reason: str) -> list[Event]:
        if "camera_blind" in self.open:
            return []
        self.open["camera_blind"] = new_id()
        logger.warning("camera %s is blind: %s", self._camera.id, reason)
        return [
            self._event("camera_blind", self.open["camera_blind"], "camera_blind", "warning", at, {"reason": reason})
        ]

    async def _tell_blind(self, reason: str) -> None:
        await self._keep(lambda: self._blind(datetime.now(UTC), f"camera process: {reason}"[:200]))
        await self._show()

    def _event(
        self,
        kind: EventType,
        incident_id: str,
        violation: str,
        severity: Severity,
        at: datetime,
        data: dict[str, Scalar | list[str]],
    ) -> Event:
        return Event(
            event_id=f"{incident_id}.{kind.rpartition('_')[2]}",
            incident_id=incident_id,
            type=kind,
            severity=severity,
            source_id=self._camera.id,
            at=at,
            data={"kind": violation, "camera_name": self._camera.name, "place": self._camera.place, **data},
        )


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
