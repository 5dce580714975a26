"""Zones and masks on their way from the configuration to the drawing page and back to valid YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml

from vision.zones import Anchor, Zone, check_polygon

CONFIG_BYTES_MAX = 1024 * 1024
ZONES_MAX = 32  # as the box takes them
DIGITS = 4  # of a coordinate: a tenth of a pixel in a picture of 1,000
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")
Draft = dict[str, list[Any]]


def read_draft(config: Path | None, camera_id: str) -> tuple[str, Draft]:
    """The camera's source (empty for none, or a secret reference) and its zones and masks; raises ValueError."""
    if config is None:
        return "", {"zones": [], "masks": []}
    camera = _camera(config, camera_id)
    source = camera.get("source")
    draft = check_draft({"zones": camera.get("zones") or [], "masks": camera.get("masks") or []})
    return source if isinstance(source, str) else "", draft


def _camera(config: Path, camera_id: str) -> dict[str, Any]:
    try:
        if config.stat().st_size > CONFIG_BYTES_MAX:
            raise ValueError(f"{config}: has more than {CONFIG_BYTES_MAX} bytes")
        data = yaml.safe_load(config.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{config}: cannot be read as YAML ({error})") from error
    cameras = data.get("cameras") if isinstance(data, dict) else None
    known = [item for item in cameras or [] if isinstance(item, dict)]
    for item in known:
        if not camera_id or item.get("id") == camera_id:
            return item
    ids = ", ".join(str(item.get("id")) for item in known)
    raise ValueError(f"{config}: has no camera {camera_id or 'at all'}; its cameras are: {ids or 'none'}")


def check_draft(given: Any) -> Draft:
    """*given* (from a file or a browser) with rounded numbers; raises ValueError with what is wrong."""
    if not isinstance(given, dict) or set(given) - {"zones", "masks"}:
        raise ValueError("a draft has zones and masks, nothing else")
    zones, masks = given.get("zones", []), given.get("masks", [])
    if not isinstance(zones, list) or not isinstance(masks, list) or max(len(zones), len(masks)) > ZONES_MAX:
        raise ValueError(f"zones and masks are lists of at most {ZONES_MAX}")
    checked = [_zone(zone) for zone in zones]
    ids = [zone["id"] for zone in checked]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)}: two zones have this name")
    return {"zones": checked, "masks": [_polygon(mask) for mask in masks]}


def _zone(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or set(given) - {"id", "kind", "polygon", "anchor"}:
        raise ValueError("a zone has id, kind, polygon and anchor, nothing else")
    name, kind, anchor = given.get("id"), given.get("kind", "all"), given.get("anchor", "centre")
    if not isinstance(name, str) or not _ID.match(name):
        raise ValueError(f"{name}: a zone's name is 1 to 64 of A-Z a-z 0-9 _ . : - and begins with a letter or digit")
    if not isinstance(kind, str) or not _ID.match(kind):
        raise ValueError(f"{name}: its kind is a word such as serving or cooking")
    if anchor not in get_args(Anchor):
        raise ValueError(f"{name}: its anchor is one of {', '.join(get_args(Anchor))}")
    polygon = _polygon(given.get("polygon"))
    Zone(name, kind, tuple((x, y) for x, y in polygon), anchor)
    return {"id": name, "kind": kind, "polygon": polygon, "anchor": anchor}


def _polygon(given: Any) -> list[list[float]]:
    if not isinstance(given, list) or not all(isinstance(point, list) and len(point) == 2 for point in given):
        raise ValueError("a polygon is a list of [x, y]")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for point in given for v in point):
        raise ValueError("the points of a polygon are numbers")
    polygon = [[round(float(v), DIGITS) for v in point] for point in given]
    check_polygon([(x, y) for x, y in polygon])
    return polygon


def as_yaml(draft: Draft) -> str:
    """The two keys of a camera, to be put under it."""
    lines = ["zones:" if draft["zones"] else "zones: []"]
    for zone in draft["zones"]:
        lines.append(f"  - {_flow(zone)}")
    lines.append("masks:" if draft["masks"] else "masks: []")
    lines += [f"  - {_flow(mask)}" for mask in draft["masks"]]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip()
