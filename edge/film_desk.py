"""Has the small film of an incident made, by a process of its own, after the incident and its clip are safe and told.

An order is a file: it outlives a crash, and is tried three times at most. One film at a time, at the lowest priority,
with a bound on CPU time (its own) and on time (here). Should no film come of it, the pictures remain and the reason is
told.

Of a camera with masks the film as the camera sent it shows what nobody may see: it is never on the disk. It waits in
memory, and a crash costs the film.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from edge.camera_evidence import EvidenceDesk, Faces, Kept, Subject, Tier
from telemetry.evidence import EvidenceError, FrameTimes, open_evidence
from telemetry.signing import PublicKey
from telemetry.spool import write_whole

logger = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "vision.blurred_film")
FILM_S_MAX = 300.0
TRIES_MAX = 3
REASON_CHARACTERS_MAX = 160
UNKEPT_MAX = 2  # clips in memory, of one camera; each has at most as many bytes as the ring of packets
_ONE_AT_A_TIME = threading.Lock()
Masks = Sequence[Sequence[tuple[float, float]]]  # polygons, in shares of the picture


class FilmOrder(BaseModel):
    """What is known of a clip, and how often its film was tried. ``clip_sha256`` None: the clip is not kept. ``asked``:
    somebody asked to see that moment; the incident's id is the order's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    incident_id: str
    kind: str
    zone: str
    at: AwareDatetime
    model_sha256: str
    tier: Tier | None = None
    clip_sha256: str | None
    frames: FrameTimes
    tries: int = 0
    asked: bool = False

    @property
    def subject(self) -> Subject:
        return Subject(
            self.incident_id, self.kind, self.at, self.model_sha256, f"film of {self.kind}", self.zone, self.tier
        )


@dataclass(frozen=True)
class FilmTold:
    """The end of an order: ``evidence`` is what the incident has in the spool, ``missing`` why there is no film."""

    order: FilmOrder
    evidence: list[str]
    missing: list[str]


class _NoFilm(Exception):
    """The reason, for people."""


class FilmAnswer(BaseModel):
    """The first line of what the film's process says; see vision/blurred_film.py."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faces: Faces
    pictures: int
    first_s: float
    last_s: float


class FilmDesk:
    """The orders of one camera. *tell* is called from the desk's own thread."""

    def __init__(
        self,
        desk: EvidenceDesk,
        camera_id: str,
        models: Sequence[Path],
        face_model: Path | None,
        public_key: PublicKey,
        tell: Callable[[FilmTold], None],
        command: Sequence[str] = COMMAND,
        masks: Masks = (),
    ) -> None:
        self._desk = desk
        self._folder = desk.folder.folder / "films" / camera_id
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._settings = json.dumps(
            {
                "models": [str(path) for path in models],
                "face_model": str(face_model) if face_model else None,
                "masks": masks,
            }
        )
        self._unkept: dict[str, bytes] = {}  # clips by incident
        self._public_key = public_key
        self._tell = tell
        self._command = command
        self._work = threading.Event()
        self._work.set()  # what was ordered before a restart

    def order(self, order: FilmOrder, unkept: bytes | None = None) -> None:
        """Have a film made when there is time, of the clip that is kept or of *unkept*.

        A disk too full for the order, or too many clips that wait in memory, is a film that is missing.
        """
        if unkept is not None:
            if len(self._unkept) >= UNKEPT_MAX:
                self._tell(self._told(order, Kept(missing=["film: too many films wait to be made"])))
                return
            self._unkept[order.incident_id] = unkept
        try:
            self._write(order)
        except OSError as error:
            self._unkept.pop(order.incident_id, None)
            self._tell(self._told(order, Kept(missing=[f"film: {error.strerror}"])))
        self._work.set()

    def start(self) -> None:
        """Work in a thread of its own, which ends with the process."""
        threading.Thread(target=self._run, name="films", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            self.work()

    def work(self) -> None:
        """Carry out every order that waits, the oldest first."""
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            try:
                order = FilmOrder.model_validate_json(path.read_bytes())
            except ValidationError:
                logger.warning("%s: is no order of a film; it is dropped", path)
                path.unlink()
                continue
            self._tell(self._told(order, self._carry_out(order)))
            path.unlink(missing_ok=True)
            self._unkept.pop(order.incident_id, None)

    def _told(self, order: FilmOrder, kept: Kept) -> FilmTold:
        return FilmTold(order, self._desk.of_incident(order.incident_id), kept.missing)

    def _carry_out(self, order: FilmOrder) -> Kept:
        try:
            if order.tries >= TRIES_MAX:
                raise _NoFilm(f"gave up after {TRIES_MAX} tries")
            self._write(order.model_copy(update={"tries": order.tries + 1}))
            answer, film = self._make(self._clip(order))
        except (_NoFilm, OSError) as error:
            logger.warning("no film of %s: %s", order.incident_id, error)
            return Kept(missing=[f"film: {error}"[:REASON_CHARACTERS_MAX]])
        first_at, last_at = (_after(order.frames.first_at, seconds) for seconds in (answer.first_s, answer.last_s))
        frames = FrameTimes(first_at=first_at, last_at=last_at, count=answer.pictures)
        return self._desk.keep_film(film, answer.faces, frames, order.clip_sha256, order.subject)

    def _clip(self, order: FilmOrder) -> bytes:
        if order.clip_sha256 is None:
            if clip := self._unkept.get(order.incident_id):
                return clip
            raise _NoFilm("the process ended before it was made")
        path = self._desk.folder.find(order.incident_id, order.clip_sha256)
        if path is None:
            raise _NoFilm("its clip is not kept any more")
        try:
            return open_evidence(path.read_bytes(), lambda _: self._public_key).blob
        except EvidenceError as error:
            raise _NoFilm(f"its clip is damaged ({error.code})") from error

    def _make(self, clip: bytes) -> tuple[FilmAnswer, bytes]:
        with _ONE_AT_A_TIME:
            try:
                done = subprocess.run(
                    [*self._command, self._settings], input=clip, capture_output=True, timeout=FILM_S_MAX, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise _NoFilm(f"it took more than {FILM_S_MAX:.0f} s") from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise _NoFilm(said[-1] if said else f"its process ended with status {done.returncode}")
        line, _, film = done.stdout.partition(b"\n")
        try:
            return FilmAnswer.model_validate_json(line), film
        except ValidationError as error:
            raise _NoFilm("its process said something that is no film") from error

    def _write(self, order: FilmOrder) -> None:
        write_whole(self._folder / f"{order.incident_id}.json", order.model_dump_json().encode())


def _after(begin: datetime, seconds: float) -> datetime:
    return begin + timedelta(seconds=seconds)
