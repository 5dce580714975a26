"""What the box knows of one camera: turns the reports of its process into events and keeps what is open.

Open incidents are saved with the events that opened them and handed to the next camera process, so neither a
crash in native code nor a restart of the box opens an incident twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge.camera_metrics import metrics_text, write_metrics
from edge.camera_report import CANDIDATE_OFF, CameraReport
from edge.camera_task import CameraTask
from edge.config_cameras import Camera
from edge.config_evidence import EvidenceSection
from edge.rules import new_id
from telemetry.messages import Event, EventType, Scalar, Severity

logger = logging.getLogger(__name__)
STATE_PREFIX = "camera/"
MODELS_MAX = 16
LOSSES_MAX = 8
ROWS_MAX = 64  # what one event carries; a camera has at most 32 violations
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


class CameraDesk:
    """One camera, whichever process watches it; ``saved`` is what the box saved under ``state_key``."""

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
        evidence: EvidenceSection | None = None,
    ) -> None:
        self._camera = camera
        self._box_id = box_id
        self._key_file = key_file
        self._spool_dir = spool_dir
        self._evidence = evidence or EvidenceSection()
        self._metrics_dir = spool_dir.parent / "metrics"
        self._crashed_shadows: set[int] = set()  # until its process has said that they are off
        self._mute = False  # the loss of the metrics file was told
        self._record = record
        self._wake = wake
        self.stats: CameraReport | None = None  # the last figures of its process
        self.losses: list[str] = []  # why its process ended, the newest ones since the start
        self.taken_back: CameraReport | None = None  # the last report of a model that is live no more
        self.turned_off: CameraReport | None = None  # the last one of a candidate that is off
        self.open: dict[str, str] = json.loads(saved) if saved else {}  # kind, or kind@zone → incident id

    @property
    def camera_id(self) -> str:
        return self._camera.id

    @property
    def model_places(self) -> frozenset[str | None]:
        """The slots of its models."""
        return frozenset(model.place for model in self._camera.models_used)

    @property
    def has_judged(self) -> bool:
        """Whether pictures were judged since the start."""
        return self.stats is not None and bool(self.stats.judged)

    @property
    def rate_fps(self) -> float:
        """Pictures judged a second, lately."""
        return (self.stats and self.stats.rate_fps) or 0.0

    @property
    def state_key(self) -> str:
        return STATE_PREFIX + self.camera_id

    def task(self) -> CameraTask:
        """What the process that is to watch it has to know."""
        return CameraTask(
            box_id=self._box_id,
            camera=self._camera,
            key_file=self._key_file,
            spool_dir=self._spool_dir,
            evidence=self._evidence,
            open_incidents={key: incident for key, incident in self.open.items() if key != "camera_blind"},
            blind="camera_blind" in self.open,
            crashed_shadows=tuple(sorted(self._crashed_shadows)),
        )

    def turn_off_shadow(self, number: int) -> None:
        """Have the candidate beside that model turned off by the next process: with it the last ones died."""
        self._crashed_shadows.add(number)

    def wake(self) -> None:
        """There is evidence to send that belongs to no incident."""
        self._wake()

    async def take(self, report: CameraReport) -> None:
        """Record what *report* says; ValueError for one without what it must have, OutboxError as `record` raises."""
        if report.type.startswith("violation") and (report.kind is None or report.incident_id is None):
            raise ValueError("its process reported a violation without kind or incident")
        await self._keep(lambda: self._events(report))
        if report.type in ("stats", "camera_blind", "camera_recovered"):
            await self._show()

    async def tell_blind(self, reason: str) -> None:
        """It is not watched at the moment, for *reason*; told once until it sees again."""
        self.losses = [*self.losses, reason][-LOSSES_MAX:]
        await self._keep(lambda: self._blind(datetime.now(UTC), f"camera process: {reason}"[:200]))
        await self._show()

    async def _show(self) -> None:
        """Keep the metrics file up to date; a full disk must not stop the watch."""
        text = metrics_text(self.camera_id, self.stats, sees="camera_blind" not in self.open)
        try:
            await asyncio.to_thread(write_metrics, self._metrics_dir, self.camera_id, text)
        except OSError as error:
            if not self._mute:
                logger.warning("camera %s: its metrics cannot be written: %s", self.camera_id, error)
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
        told = {"coverage": self._coverage, "storage": self._storage, "model_changed": self._model_changed}
        if report.type in told:
            return [told[report.type](report, at)]
        if report.type.startswith("violation"):
            return [self._violation(report, at)]
        if report.type == "camera_blind":
            return self._blind(at, report.reason or "")
        incident = self.open.pop("camera_blind", None)
        if incident is None:
            return []
        logger.info("camera %s sees again", self.camera_id)
        return [self._event("camera_recovered", incident, "camera_blind", "info", at, {})]

    def _violation(self, report: CameraReport, at: datetime) -> Event:
        assert report.kind is not None
        assert report.incident_id is not None
        key = f"{report.kind}@{report.zone}" if report.zone else report.kind
        data: dict[str, Scalar | list[str]] = {"zone": report.zone} if report.zone else {}
        if report.evidence_missing:
            data["evidence_missing"] = report.evidence_missing
        if report.type == "violation_updated":
            data["evidence"] = report.evidence
            event = self._event("violation_updated", report.incident_id, report.kind, "warning", at, data)
            return event.model_copy(update={"event_id": f"{report.incident_id}.film"}) if report.is_film else event
        if report.type == "violation_closed":
            self.open.pop(key, None)
            data["reason"] = report.reason
            return self._event("violation_closed", report.incident_id, report.kind, "info", at, data)
        self.open[key] = report.incident_id
        logger.warning("camera %s: %s confirmed (%.0f %%)", self.camera_id, key, 100 * (report.confidence or 0))
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
            "models": report.models[:MODELS_MAX],
        }
        return self._event("coverage", new_id(), "coverage", "info", at, data)

    def _storage(self, report: CameraReport, at: datetime) -> Event:
        """Originals can no longer be kept (``storage_full``), or can again (``storage_has_room``); or the camera is no
        longer recorded (``recording_off: REASON``), or is again (``recording_on``)."""
        logger.warning("camera %s: %s", self.camera_id, report.reason)
        return self._event("box_status", new_id(), "storage", "warning", at, {"status": report.reason})

    def _model_changed(self, report: CameraReport, at: datetime) -> Event:
        """A model was promoted or taken back: who reads verdicts later must know which model gave them. Or a
        candidate is off (``candidate_off``), for good."""
        logger.warning("camera %s: its model: %s: %s", self.camera_id, report.kind, report.reason)
        if report.kind == CANDIDATE_OFF:
            self._crashed_shadows.clear()
            self.turned_off = report
        if report.kind == "rolled_back":
            self.taken_back = report
        data: dict[str, Scalar | list[str]] = {
            "change": report.kind, "model_sha256": report.model_sha256, "reason": report.reason
        }  # fmt: skip
        return self._event("box_status", new_id(), "model", "info", at, data)

    def _blind(self, at: datetime, reason: str) -> list[Event]:
        if "camera_blind" in self.open:
            return []
        self.open["camera_blind"] = new_id()
        logger.warning("camera %s is blind: %s", self.camera_id, reason)
        return [
            self._event("camera_blind", self.open["camera_blind"], "camera_blind", "warning", at, {"reason": reason})
        ]

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
            source_id=self.camera_id,
            at=at,
            data={"kind": violation, "camera_name": self._camera.name, "place": self._camera.place, **data},
        )
