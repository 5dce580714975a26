"""The cameras' part of the configuration: what each one watches for, where in its picture, and with which models.

What can be known without a model is checked here; whether a model knows what it is asked for, the camera process says
before its first picture (`edge.camera`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from telemetry.messages import Identifier
from telemetry.released_model import SLOT

Coordinate = Annotated[float, Field(ge=0, le=1)]
Polygon = Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=3, max_length=64)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Rate = Annotated[float, Field(ge=1, le=30)]
Confidence = Annotated[float, Field(ge=0.15, lt=1)]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Part(BaseModel):
    """Frozen, no unknown keys, no NaN; a copy of `Section`'s rules, so that this file imports nothing of the box's."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CameraZone(_Part):
    """A named part of the picture, in shares of its width and height; ``kind`` is a zone word of the catalogue."""

    id: Identifier
    kind: Annotated[str, Field(max_length=64)] = "all"
    polygon: Polygon
    anchor: Literal["centre", "bottom", "top", "any"] = "centre"


Share = Annotated[float, Field(gt=0, le=1)]


class CameraShadow(_Part):
    """A candidate that sees ``share`` of the model's pictures with at most ``cpu_share`` of one core.

    The last three are set by a release from the centre: see `vision.watch_settings.ShadowUse`.
    """

    path: Path
    share: Share = 0.1
    cpu_share: Share = 0.1
    disagreement_max: Share = 0.3
    keep_days: Annotated[float, Field(gt=0, le=365)] = 14.0
    live_by: Identifier | None = None
    rate_fps_before: Annotated[float, Field(ge=0, le=60)] = 0.0
    release: Annotated[str, Field(max_length=64)] = ""


class CameraModel(_Part):
    """A model with its manifest beside it; ``path`` left out: the packaged one. ``regions``: zones seen as crops.

    ``slot``: the name under which the centre may roll out another model in its place; that of the packaged one is mask.
    """

    path: Path | None = None
    slot: Identifier | None = None
    rate_fps: Rate | None = None
    regions: tuple[Identifier, ...] = ()
    close_look: bool | None = None
    shadow: CameraShadow | None = None

    @property
    def place(self) -> str | None:
        """Its slot; None when no release takes its place."""
        return self.slot or (SLOT if self.path is None else None)

    def located(self, folder: Path) -> CameraModel:
        """The same with paths from *folder*."""
        shadow = self.shadow and self.shadow.model_copy(update={"path": folder / self.shadow.path})
        return self.model_copy(update={"path": self.path and folder / self.path, "shadow": shadow})


class CameraViolation(_Part):
    """A code of the catalogue, where to watch for it, and what is different here."""

    code: Identifier
    zones: tuple[Identifier, ...] = ()
    dwell_s: Seconds | None = None
    recover_s: Seconds | None = None
    cool_down_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    window_share: Annotated[float, Field(gt=0, le=1)] | None = None
    confidence: Confidence | None = None
    keep_confidence: Confidence | None = None
    min_px: Annotated[float, Field(ge=0, le=10_000)] | None = None
    active: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What differs from the catalogue."""
        return self.model_dump(exclude={"code", "zones"}, exclude_none=True)


class CameraHours(_Part):
    """``from`` to before ``to``, on the day after when it is not later."""

    start: Annotated[Clock, Field(alias="from")]
    end: Annotated[Clock, Field(alias="to")]
    days: Annotated[tuple[Day, ...], Field(min_length=1)] = EVERY_DAY


class CameraTimes(_Part):
    """Opening hours (none: always open) and meals of the kitchen, by its own clock."""

    time_zone: str = "Asia/Shanghai"
    open: tuple[CameraHours, ...] = ()
    meals: dict[Identifier, tuple[CameraHours, ...]] = {}


class CameraRecording(_Part):
    """What the camera sends stays on the box for ``hours``, or less when it is more than ``bytes_max`` or the disk has
    little more left than ``evidence: {free_bytes_min}``; the oldest minutes go first.
    """

    hours: Annotated[float, Field(ge=1, le=24 * 31)] = 24.0 * 7
    bytes_max: Annotated[int, Field(ge=256 * 1024 * 1024)] = 32 * 1024 * 1024 * 1024


def _code_alone(value: Any) -> Any:
    return {"code": value} if isinstance(value, str) else value


class Camera(_Part):
    """A kitchen camera; ``source`` may be a secret reference because addresses hold passwords.

    ``sub_source`` is its smaller stream: what is looked at, and what films are cut from, unless ``detect_on`` or
    ``films_from`` says main. ``keyframes_only`` saves the decoding of all but one picture in seconds. ``hardware`` is
    what decodes. A new ``view`` says that the camera looks elsewhere on purpose.

    ``recording`` keeps what films are cut from for days (left out: the last 30 s).

    ``dwell_s``, ``recover_s`` and ``confidence`` hold for all its violations that do not say otherwise.
    """

    id: Identifier
    name: Annotated[str, Field(min_length=1, max_length=80)]
    place: Annotated[str, Field(max_length=80)] = ""
    source: str
    sub_source: str = ""
    detect_on: Literal["main", "sub"] = "sub"
    films_from: Literal["main", "sub"] = "sub"
    keyframes_only: bool = False
    hardware: Literal["auto", "none", "v4l2m2m", "vaapi", "drm", "cuda", "qsv"] = "auto"
    view: Identifier = "1"
    model: Path | None = None
    models: Annotated[tuple[CameraModel, ...], Field(max_length=8)] = ()
    violations: Annotated[
        tuple[Annotated[CameraViolation, BeforeValidator(_code_alone)], ...], Field(min_length=1, max_length=32)
    ] = (CameraViolation(code="no_mask"),)
    zones: Annotated[tuple[CameraZone, ...], Field(max_length=32)] = ()
    masks: Annotated[tuple[Polygon, ...], Field(max_length=32)] = ()
    recording: CameraRecording | None = None
    times: CameraTimes = CameraTimes()
    catalogue: Path | None = None
    dwell_s: Seconds | None = None
    recover_s: Seconds | None = None
    rate_fps: Annotated[float, Field(ge=0.1, le=30)] = 5.0
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _refers_to_what_it_has(self) -> Camera:
        if self.model is not None and self.models:
            raise ValueError("give model or models, not both")
        if self.rate_fps < 1 and not self.keyframes_only:
            raise ValueError("rate_fps below 1 needs keyframes_only: true")
        if self.recording is not None and self.masks:
            raise ValueError("recording would show what masks hide; leave out one of them")
        zones = [zone.id for zone in self.zones]
        if len(set(zones)) < len(zones):
            raise ValueError("two zones have the same id")
        codes = [(item.code, zone) for item in self.violations for zone in item.zones or ("",)]
        if len(set(codes)) < len(codes):
            raise ValueError("a violation stands twice for the same zone")
        named = {name for item in self.violations for name in item.zones}
        named |= {name for model in self.models_used for name in model.regions}
        if strange := sorted(named - set(zones)):
            raise ValueError(f"{', '.join(strange)} is no id in its zones")
        return self

    @property
    def models_used(self) -> tuple[CameraModel, ...]:
        """Its models, with the short form written out."""
        return self.models or (CameraModel(path=self.model),)

    @property
    def watched_source(self) -> str:
        """The stream that is looked at."""
        return self.sub_source if self.sub_source and self.detect_on == "sub" else self.source

    @property
    def film_source(self) -> str:
        """The stream that films are cut from."""
        return self.sub_source if self.sub_source and self.films_from == "sub" else self.source

    def changes_for(self, item: CameraViolation) -> dict[str, Any]:
        """What differs from the catalogue for *item* on this camera."""
        common = {"dwell_s": self.dwell_s, "recover_s": self.recover_s, "confidence": self.confidence}
        return {name: value for name, value in common.items() if value is not None} | item.changes

    def located(self, folder: Path) -> Camera:
        """The same with paths from *folder*."""
        models = tuple(item.located(folder) for item in self.models)
        paths = {"model": self.model, "catalogue": self.catalogue}
        found = {name: folder / path for name, path in paths.items() if path is not None}
        return self.model_copy(update={"models": models, **found})
