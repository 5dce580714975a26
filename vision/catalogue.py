"""The catalogue of violations: YAML files of names, tiers, deadlines and, where a detector can see it, the rule.

Data, never code: another jurisdiction has other files. Everything is checked whole when it is read; what a rule needs
from a model (`Rule.needs`) is known before the first picture, so that a camera whose model cannot see a violation
is refused with the names of the classes that are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vision.manifest import FLOOR_CONFIDENCE

FILE_BYTES_MAX = 256 * 1024
FILES_MAX = 64
DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / "configs" / "violations"  # packed beside the packages too
ClassName = Annotated[str, Field(min_length=1, max_length=64)]
Classes = Annotated[tuple[ClassName, ...], Field(max_length=64)]
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
DEFAULT_CONFIDENCE = 0.4
Confidence = Annotated[float, Field(ge=FLOOR_CONFIDENCE, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class CatalogueError(ValueError):
    """A catalogue, or a use of it, that cannot work; the message says where and what to do."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Rule(_Data):
    """What every rule has: times in seconds of sight, sizes in pixels of the picture, confidences 0 to 1.

    ``confidence`` is needed for a verdict (None: what the model's manifest says); an offender of an open incident
    stays one down to ``keep_confidence``. ``active`` names the periods of the site in which it holds: always, open,
    night (not open), meals, or one meal.
    """

    dwell_s: Seconds = 3.0
    recover_s: Seconds = 10.0
    cool_down_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    window_share: Share = 0.6
    confidence: Confidence | None = None
    keep_confidence: Confidence | None = None
    min_px: Annotated[float, Field(ge=0, le=10_000)] = 24.0
    active: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)] = ("always",)

    @model_validator(mode="after")
    def _keeps_what_it_confirmed(self) -> _Rule:
        if self.keep_confidence is not None and self.keep_confidence > (self.confidence or DEFAULT_CONFIDENCE):
            raise ValueError("keep_confidence must not be above confidence")
        return self

    @property
    def subjects(self) -> tuple[str, ...]:
        """Classes of one and the same object in its states; they share a track."""
        raise NotImplementedError

    @property
    def needs(self) -> tuple[str, ...]:
        """Classes without which the rule sees nothing, or cannot tell right from wrong."""
        raise NotImplementedError


class PresentRule(_Rule):
    """An object that must not be there. With ``held_by`` only where it lies on one of those."""

    kind: Literal["present"]
    classes: Annotated[Classes, Field(min_length=1)]
    held_by: Classes = ()
    confused_with: Classes = ()  # where the model sees one of these as surely in the same place, it is unknown

    @property
    def subjects(self) -> tuple[str, ...]:
        return self.classes

    @property
    def needs(self) -> tuple[str, ...]:
        return (*self.classes, *self.held_by)


class WornRule(_Rule):
    """Something that has to be worn: the model names both states, or ``item`` must lie on ``part`` of ``wearer``."""

    kind: Literal["worn"]
    violating: Classes = ()
    compliant: Classes = ()
    wearer: Classes = ()
    item: Classes = ()
    part: Literal["head", "torso", "whole"] = "whole"

    @model_validator(mode="after")
    def _is_one_of_two(self) -> WornRule:
        by_state, by_place = bool(self.violating and self.compliant), bool(self.wearer and self.item)
        if by_state == by_place or (by_state and (self.wearer or self.item)) or (by_place and self.violating):
            raise ValueError("give violating and compliant, or wearer and item")
        return self

    @property
    def subjects(self) -> tuple[str, ...]:
        return self.wearer or (*self.violating, *self.compliant)

    @property
    def needs(self) -> tuple[str, ...]:
        return (*self.wearer, *self.item, *self.violating, *self.compliant)


class StateRule(_Rule):
    """An object in a state for too long; not while one of ``unless_near`` is within ``near_heights`` of its heights.

    It is the same object while it is unseen for no longer than ``grace_s`` and comes back where it was or, in its own
    larger sides, within ``reach`` of it.
    """

    kind: Literal["state"]
    classes: Annotated[Classes, Field(min_length=1)]
    compliant: Classes = ()
    unless_near: Classes = ()
    near_heights: Annotated[float, Field(ge=0, le=20)] = 1.0
    reach: Annotated[float, Field(ge=0, le=5)] = 0.0

    @property
    def grace_s(self) -> float:
        """What of ``dwell_s`` may be missing."""
        return (1 - self.window_share) * self.dwell_s

    @property
    def subjects(self) -> tuple[str, ...]:
        return (*self.classes, *self.compliant)

    @property
    def needs(self) -> tuple[str, ...]:
        return (*self.classes, *self.compliant, *self.unless_near)


class _ClassesRule(_Rule):
    """A rule that looks at its classes and at nothing else."""

    classes: Annotated[Classes, Field(min_length=1)]

    @property
    def subjects(self) -> tuple[str, ...]:
        return self.classes

    @property
    def needs(self) -> tuple[str, ...]:
        return self.classes


class PresenceRule(_ClassesRule):
    """Somebody at a time (``active``) or in a place (the zone) where nobody may be."""

    kind: Literal["presence"]


class AbsenceRule(_ClassesRule):
    """Nobody in a zone where somebody has to be."""

    kind: Literal["absence"]


Rule = Annotated[PresentRule | WornRule | StateRule | PresenceRule | AbsenceRule, Field(discriminator="kind")]


class Rectify(_Data):
    """How soon a person must have looked, and it must be right again."""

    check_within_h: Annotated[float, Field(gt=0, le=8_784)] | None = None
    fix_within_h: Annotated[float, Field(gt=0, le=8_784)] | None = None
    same_day: bool = False
    warn_before_d: Annotated[int, Field(gt=0, le=366)] | None = None
    by_duration: bool = False

    @model_validator(mode="after")
    def _says_when(self) -> Rectify:
        if not (self.fix_within_h or self.same_day or self.warn_before_d or self.by_duration):
            raise ValueError("give fix_within_h, same_day, warn_before_d or by_duration")
        return self


class Violation(_Data):
    """One line of the catalogue. ``zones`` are kinds of zones; ``all`` is everywhere. No rule: no detector sees it."""

    code: Code
    zh: Annotated[str, Field(min_length=1, max_length=80)]
    en: Annotated[str, Field(min_length=1, max_length=80)]
    zones: Annotated[tuple[Code, ...], Field(min_length=1, max_length=16)]
    tiers: Annotated[tuple[Literal["I", "II", "III"], ...], Field(min_length=1, max_length=3)]
    rectify: Rectify
    vendor_codes: Annotated[tuple[ClassName, ...], Field(max_length=16)] = ()
    rule: Rule | None = None


class _File(_Data):
    violations: Annotated[tuple[Violation, ...], Field(min_length=1, max_length=200)]


class Catalogue:
    """Violations by code."""

    def __init__(self, violations: dict[str, Violation]) -> None:
        self.violations = violations

    @classmethod
    def load(cls, folder: Path = DEFAULT_FOLDER) -> Catalogue:
        """Read every ``*.yaml`` of *folder*; raises CatalogueError."""
        paths = sorted(folder.glob("*.yaml"))
        if not 0 < len(paths) <= FILES_MAX:
            raise CatalogueError(f"{folder}: holds {len(paths)} catalogue files; give a folder with 1 to {FILES_MAX}")
        violations: dict[str, Violation] = {}
        for path in paths:
            for violation in _read(path).violations:
                if violation.code in violations:
                    raise CatalogueError(f"{path}: {violation.code} stands in the catalogue twice; remove one")
                violations[violation.code] = violation
        return cls(violations)

    def rule(self, code: str, changes: dict[str, Any] | None = None) -> Rule:
        """The rule of *code*, with some of its values changed for one camera; raises CatalogueError."""
        violation = self.violations.get(code)
        watched = ", ".join(sorted(name for name, item in self.violations.items() if item.rule is not None))
        if violation is None:
            raise CatalogueError(f"{code}: no such violation in the catalogue; a camera can watch for {watched}")
        if violation.rule is None:
            raise CatalogueError(f"{code}: no detector supports it; a camera can watch for {watched}")
        if not changes:
            return violation.rule
        try:
            return type(violation.rule).model_validate({**violation.rule.model_dump(), **changes})
        except ValidationError as error:
            raise CatalogueError(f"{code}: {_first(error)}") from None


def _read(path: Path) -> _File:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CatalogueError(f"{path}: has more than {FILE_BYTES_MAX} bytes")
        return _File.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as error:
        raise CatalogueError(f"{path}: {_first(error)}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CatalogueError(f"{path}: cannot be read as YAML ({error})") from error


def _first(error: ValidationError) -> str:
    item = error.errors()[0]
    return f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg'].removeprefix('Value error, ')}"
