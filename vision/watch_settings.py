"""What one camera is watched for, with which models; checked against the catalogue before the first picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vision.catalogue import DEFAULT_FOLDER
from vision.coverage import COVERAGE_INTERVAL_S
from vision.detector import DEFAULT_MODEL
from vision.segments import RecordingUse
from vision.site_times import SiteTimes
from vision.zones import Point, Zone


@dataclass(frozen=True)
class OpenIncident:
    """An incident that was open before a restart."""

    incident_id: str
    kind: str
    zone: str = ""


@dataclass(frozen=True)
class ShadowUse:
    """A candidate beside a model: it sees ``share`` of the pictures and takes at most ``cpu_share`` of one core.

    A promotion is taken back when surely more than ``disagreement_max`` of the pictures differ from the former model.
    ``live_by``: the order by which it is the live model from the start on, once for each order; ``rate_fps_before``:
    pictures judged a second before that, 0 for not known. ``release``: which brought it; empty for none.
    """

    path: Path
    share: float = 0.1
    cpu_share: float = 0.1
    disagreement_max: float = 0.3
    keep_days: float = 14.0
    live_by: str | None = None
    rate_fps_before: float = 0.0
    release: str = ""

    def __post_init__(self) -> None:
        for name in ("share", "cpu_share", "disagreement_max"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{self.path}: {name} is {getattr(self, name)}; it must be above 0 and at most 1")


@dataclass(frozen=True)
class ModelUse:
    """A model on this camera. ``rate_fps`` None: every picture. ``regions``: zones that it sees as crops of their own,
    for things that are too small in the whole picture. ``close_look`` None: as its manifest says."""

    path: Path = DEFAULT_MODEL
    rate_fps: float | None = None
    regions: tuple[str, ...] = ()
    close_look: bool | None = None
    shadow: ShadowUse | None = None

    def __post_init__(self) -> None:
        if self.rate_fps is not None and not 1 <= self.rate_fps <= 60:
            raise ValueError(f"{self.path}: rate_fps is {self.rate_fps}; it must be from 1 to 60")


@dataclass(frozen=True)
class Watched:
    """A code of the catalogue, the zones (none: those of its kinds) and what is different on this camera."""

    code: str
    zones: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WatchSettings:
    """How one camera is watched."""

    camera_id: str
    source: str  # what is looked at
    models: tuple[ModelUse, ...] = (ModelUse(),)
    violations: tuple[Watched, ...] = (Watched("no_mask"),)
    zones: tuple[Zone, ...] = ()
    masks: tuple[tuple[Point, ...], ...] = ()
    times: SiteTimes = field(default_factory=SiteTimes)
    catalogue: Path = DEFAULT_FOLDER
    rate_fps: float = 5.0
    loop: bool = True
    open_incidents: tuple[OpenIncident, ...] = ()
    blind: bool = False  # it was told as blind before a restart
    coverage_interval_s: float = COVERAGE_INTERVAL_S
    clip_before_s: float = 5.0
    clip_after_s: float = 5.0  # 0: no clips
    masked_films: bool = False  # clips although there are masks: whoever takes them hides what those cover
    face_model: Path | None = None  # of a face detector (YuNet), besides the models
    shadow_dir: Path | None = None  # where this camera's shadows keep what they saw; None: no shadows
    crashed_shadows: tuple[int, ...] = ()  # numbers of the models whose candidate ended the process, again and again
    clip_source: str = ""  # another stream of the camera that films are cut from; empty: the same
    recording: RecordingUse | None = None  # of what films are cut from; not with masks, which it would show
    keyframes_only: bool = False
    hardware: str = "none"
    view: str = "1"  # another word: the camera looks elsewhere on purpose
    sight_file: Path | None = None  # where the view is kept over a restart, see `vision.sight_memory`

    def __post_init__(self) -> None:
        ids = [zone.zone_id for zone in self.zones]
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))}: two zones have this id")
        wanted = [name for use in self.models for name in use.regions]
        wanted += [name for item in self.violations for name in item.zones]
        if strange := sorted(set(wanted) - set(ids)):
            raise ValueError(f"{', '.join(strange)}: no such zone on camera {self.camera_id}")
        if self.recording is not None and self.masks:
            raise ValueError(f"camera {self.camera_id} has masks; a recording would show what they hide")
        if not self.models or not self.violations:
            raise ValueError(f"camera {self.camera_id} needs at least one model and one violation")

    def zones_for(self, item: Watched, kinds: tuple[str, ...]) -> list[Zone]:
        """Where to watch for *item*: its own zones, or those of the catalogue's *kinds*; raises ValueError for none."""
        if item.zones:
            return [zone for zone in self.zones if zone.zone_id in item.zones]
        if "all" in kinds or not self.zones:
            return [Zone("")]
        fitting = [zone for zone in self.zones if zone.kind in kinds]
        if not fitting:
            raise ValueError(
                f"{item.code}: camera {self.camera_id} has no zone of the kind {', '.join(kinds)}; name its zones"
            )
        return fitting
