"""The tree of regions: province, city, district, station; each name stands below its parent once."""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts import AccountError
from server.audit import CONSOLE, Actor, note
from server.models import Region

Level = Literal["province", "city", "district", "station"]
LEVELS: tuple[Level, ...] = get_args(Level)
NAME_CHARACTERS_MAX = 80


def ensure_region(db: Session, names: str, actor: Actor = CONSOLE) -> Region:
    """The region of ``Province/City/District/Station`` (the last ones may be left out), made where missing.

    Raises AccountError.
    """
    parts = [part.strip() for part in names.split("/")]
    if len(parts) > len(LEVELS) or not all(0 < len(part) <= NAME_CHARACTERS_MAX for part in parts):
        raise AccountError(f"a region is Province/City/District/Station, each of 1 to {NAME_CHARACTERS_MAX} characters")
    region: Region | None = None
    for level, name in zip(LEVELS, parts, strict=False):
        region = _child(db, region, name) or _add_child(db, region, level, name, actor)
    assert region is not None, "there is at least one part"
    return region


def find_region(db: Session, names: str) -> Region | None:
    """The region of ``Province/City/District/Station``, or None where there is none."""
    region: Region | None = None
    for name in names.split("/"):
        region = _child(db, region, name.strip())
        if region is None:
            return None
    return region


def _child(db: Session, parent: Region | None, name: str) -> Region | None:
    above = Region.parent_id == parent.id if parent else Region.parent_id.is_(None)
    return db.scalar(select(Region).where(above, Region.name == name))


def _add_child(db: Session, parent: Region | None, level: Level, name: str, actor: Actor) -> Region:
    region = Region(parent_id=parent.id if parent else None, level=level, name=name)
    db.add(region)
    db.flush()
    region.path = f"{parent.path if parent else '/'}{region.id}/"
    note(db, actor, "region.add", ("region", region.id), {"name": name, "path": region.path})
    return region


def region_names(db: Session, region: Region) -> str:
    """``Province/City/District/Station`` of a region."""
    ids = [int(part) for part in region.path.strip("/").split("/")]
    names = {row.id: row.name for row in db.scalars(select(Region).where(Region.id.in_(ids)))}
    return "/".join(names[id_] for id_ in ids)
