"""All cameras of the box: one process for them together, and one of its own for each that would take the others along.

A camera whose pictures crash native code takes the process down, which is started again at once with all that was open.
The one that was inside of native code twice within ten minutes when that happened goes on alone, until the box is
started anew; if crashes go on and nobody was, each goes on alone. So does one whose configuration cannot work, so that
it can be tried again without disturbing the others. A candidate model (shadow) that was inside of native code at
two such crashes is turned off, and no camera is blamed for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from edge.camera_desk import CameraDesk
from edge.camera_process import CameraProcess, CameraProcessError
from edge.camera_report import CameraOrder
from edge.remote_desk import Outcome
from edge.supervisor import supervise
from telemetry.commands import Command
from telemetry.messages import Scalar

logger = logging.getLogger(__name__)
SUSPECTED_MAX = 1  # times within SUSPICION_S that are put down to chance, or to what came from outside
UNEXPLAINED_MAX = 2
SUSPICION_S = 600.0
ANSWER_S = 120.0  # a second look takes its time, and a camera may just be coming back


Shadow = tuple[str, int]  # a camera, and the number of the model beside which its candidate runs
Suspect = TypeVar("Suspect", bound=Hashable)


class Suspicion:
    """Who is to be watched alone; pure."""

    def __init__(self) -> None:
        self._marks: defaultdict[Hashable, list[float]] = defaultdict(list)
        self._unexplained_s: list[float] = []

    def blame(self, suspects: Sequence[str], together: Sequence[str], now_s: float) -> list[str]:
        """After a crash at monotonic *now_s* with these *suspects* among the cameras *together*."""
        if not suspects:
            self._unexplained_s = [*_recent(self._unexplained_s, now_s), now_s]
            return list(together) if len(self._unexplained_s) > UNEXPLAINED_MAX else []
        return self._mark(suspects, now_s)

    def blame_shadows(self, suspects: Sequence[Shadow], now_s: float) -> list[Shadow]:
        """The same for candidates: those that are to be turned off. One begins anew after that."""
        guilty = self._mark(suspects, now_s)
        for shadow in guilty:
            del self._marks[shadow]
        return guilty

    def _mark(self, suspects: Sequence[Suspect], now_s: float) -> list[Suspect]:
        for suspect in suspects:
            self._marks[suspect] = [*_recent(self._marks[suspect], now_s), now_s]
        return [suspect for suspect in suspects if len(self._marks[suspect]) > SUSPECTED_MAX]


def _recent(marks_s: Sequence[float], now_s: float) -> list[float]:
    return [at_s for at_s in marks_s if now_s - at_s <= SUSPICION_S]


class CameraService:
    """``run`` is a supervised service; *options* go to each `CameraProcess`."""

    def __init__(self, desks: Sequence[CameraDesk], folder: Path, **options: Any) -> None:
        self.alone: list[str] = []  # ids, in the order in which they were set apart
        self._desks = {desk.camera_id: desk for desk in desks}
        self._folder = folder
        self._options = options
        self._suspicion = Suspicion()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched_by: dict[str, CameraProcess] = {}

    async def run(self) -> None:
        """Until cancelled; a second cancellation ends what still takes its time."""
        self._start("cameras", None)
        for camera_id in self.alone:
            self._start(f"camera {camera_id}", camera_id)
        try:
            while True:
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            await self._end()

    def _start(self, name: str, camera_id: str | None) -> None:
        async def service() -> None:
            await (self._run_together() if camera_id is None else self._run_alone(camera_id))

        self._tasks.add(asyncio.create_task(supervise(name, service), name=name))

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise

    async def _run_together(self) -> None:
        together = [name for name in self._desks if name not in self.alone]
        if not together:
            await asyncio.get_running_loop().create_future()
        try:
            await self._process(together).run()
        except CameraProcessError as error:
            if error.crashed or error.failed:
                self._blame(together, judged_only=error.failed)
            raise

    async def _run_alone(self, camera_id: str) -> None:
        try:
            await self._process([camera_id]).run()
        except CameraProcessError as error:
            if error.crashed:
                self._blame_shadows([camera_id])
            raise

    def _process(self, camera_ids: Sequence[str]) -> CameraProcess:
        desks = [self._desks[name] for name in camera_ids]
        process = CameraProcess(
            desks, crumbs_file=self._crumbs_file(camera_ids), misconfigured=self._set_apart, **self._options
        )
        self._watched_by |= dict.fromkeys(camera_ids, process)
        return process

    def _crumbs_file(self, camera_ids: Sequence[str]) -> Path:
        return self._folder / f"{camera_ids[0] if camera_ids[0] in self.alone else 'together'}.crumbs"

    async def carry_out(self, command: Command) -> Outcome:
        """What the camera of a ``snapshot``, ``recheck`` or ``clip`` shows."""
        try:
            order = CameraOrder.model_validate(
                {**command.arguments, "order_id": command.command_id, "what": command.kind}
            )
        except ValidationError as error:
            first = error.errors()[0]
            return Outcome("refused", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        if order.camera not in self._desks:
            return Outcome("refused", f"this box has no camera {order.camera}"[:200])
        process = self._watched_by.get(order.camera)
        report = await process.ask(order, ANSWER_S) if process else None
        if report is None or report.status is None:
            return Outcome("failed", "the camera gave no answer")
        facts: dict[str, Scalar | list[str]] = {
            "camera": order.camera, "verdict": report.verdict, "evidence": report.evidence,
            "seen_at": report.at.isoformat() if report.at else None,
        }  # fmt: skip
        if report.evidence_missing:
            facts["evidence_missing"] = report.evidence_missing
        return Outcome(report.status, report.reason or "", facts)

    def _blame(self, together: Sequence[str], *, judged_only: bool) -> None:
        from edge.camera import suspects

        if not judged_only and self._blame_shadows(together):
            return  # a live model is far more often inside of native code: it would always be blamed too
        found = suspects(self._crumbs_file(together), together, judged_only=judged_only)
        if judged_only and not found:
            return  # an error outside of judging, such as a full disk, is no camera's
        for name in self._suspicion.blame(found, together, asyncio.get_running_loop().time()):
            self._set_apart(name)

    def _blame_shadows(self, camera_ids: Sequence[str]) -> bool:
        """Whether a candidate was inside of native code at the crash; the second time it is turned off."""
        from edge.camera import suspected_shadows

        found = suspected_shadows(self._crumbs_file(camera_ids), camera_ids)
        for camera_id, number in self._suspicion.blame_shadows(found, asyncio.get_running_loop().time()):
            logger.warning("camera %s: the candidate beside its model %d is turned off", camera_id, number)
            self._desks[camera_id].turn_off_shadow(number)
        return bool(found)

    def _set_apart(self, camera_id: str) -> None:
        if camera_id in self.alone or len(self._desks) == 1:
            return
        logger.warning("camera %s gets a process of its own", camera_id)
        self.alone.append(camera_id)
        self._start(f"camera {camera_id}", camera_id)
