"""How one vendor's JSON is read: paths and codes as data, one file per source; what is not understood is kept whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "vendors"
TEXT_CHARACTERS_MAX = 64
FIRST_YEAR, LAST_YEAR = 2000, 2200
EPOCH_DIGITS_MAX = 13
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Dotted = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}(\.[A-Za-z0-9_-]{1,40}){0,5}$")]
Paths = Annotated[list[Dotted], Field(min_length=1, max_length=8)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Fields(_Section):
    id: Paths
    code: Paths
    at: Paths
    camera: Paths
    place: Paths


class VendorMapping(_Section):
    """One vendor's words. ``confirm``: kinds that a person looks at before anybody acts on them."""

    fields: _Fields
    codes: Annotated[dict[Annotated[str, Field(max_length=64)], Kind], Field(min_length=1, max_length=500)]
    confirm: list[Kind] = []


@dataclass(frozen=True)
class Told:
    """One event as far as it was understood; ``kind`` is None for an unknown code."""

    id: str
    code: str
    kind: str | None
    at: datetime | None
    camera: str
    place: str
    confirm: bool


def load_mapping(path: Path) -> VendorMapping:
    """One source's file; raises ValueError as ``file: path: what is wrong``."""
    try:
        return VendorMapping.model_validate(yaml.safe_load(path.read_bytes()))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML") from error
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None


@cache
def mappings() -> dict[str, VendorMapping]:
    """Source → its mapping, of all files in configs/vendors."""
    return {path.stem: load_mapping(path) for path in sorted(FOLDER.glob("*.yaml"))}


def read_event(mapping: VendorMapping, body: Mapping[str, Any], zone: tzinfo) -> Told:
    """What *body* tells, its times without an offset in *zone*; raises ValueError when it has neither a number of its
    own nor a code."""
    told_id, code = _text(body, mapping.fields.id), _text(body, mapping.fields.code)
    if not told_id or not code:
        named = f"{mapping.fields.id[0]} and {mapping.fields.code[0]}"
        raise ValueError(f"an event needs {named}: a number of its own and a code")
    kind = next((kind for known, kind in mapping.codes.items() if known.casefold() == code.casefold()), None)
    return Told(
        id=told_id,
        code=code,
        kind=kind,
        at=_time(_value(body, mapping.fields.at), zone),
        camera=_text(body, mapping.fields.camera),
        place=_text(body, mapping.fields.place),
        confirm=kind in mapping.confirm,
    )


def _value(body: Mapping[str, Any], paths: list[str]) -> object:
    for path in paths:
        value: object = body
        for part in path.split("."):
            value = _step(value, part)
        if value is not None:
            return value
    return None


def _step(value: object, part: str) -> object:
    """A field of an object, or by its number an item of a list."""
    if isinstance(value, list):
        return value[int(part)] if part.isdecimal() and int(part) < len(value) else None
    return value.get(part) if isinstance(value, dict) else None


def _text(body: Mapping[str, Any], paths: list[str]) -> str:
    value = _value(body, paths)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value) if isinstance(value, str) or abs(value) < 10**30 else ""
    return "".join(char for char in text if char.isprintable()).strip()[:TEXT_CHARACTERS_MAX]


def _time(value: object, zone: tzinfo) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970, also as text; else None, and the time of arrival counts."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value) if len(value) <= EPOCH_DIGITS_MAX else None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value / 1000 if value > 10**11 else value, UTC)
        else:
            at = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        return None
    if not FIRST_YEAR <= at.year < LAST_YEAR:
        return None
    return at if at.tzinfo else at.replace(tzinfo=zone)
