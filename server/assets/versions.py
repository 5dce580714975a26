"""What the register said and when, as digests in the Merkle log: a row that is changed past it is found.

The register's rows change and go, which a leaf must not. So each writing of a row adds a version, and the newest one
is what the row has to be. The digest covers the fields that are filled in: a column that a later version of this
program adds, still empty, changes none.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Select, exists, func, inspect, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from server.assets.register import IDS_PER_QUERY, SiteAssets
from server.assets.sheets import SHEETS, Asset, Sheet
from server.models_assets import AssetVersion, SiteCard

REMOVED = ""
VERSION_BYTES = 6


def key_of(sheet: Sheet) -> InstrumentedAttribute[int]:
    """The key of a sheet's table."""
    model: Any = sheet.model
    key: InstrumentedAttribute[int] = model.site_id if model is SiteCard else model.id
    return key


def digest_of(sheet: Sheet, item: Asset) -> str:
    """SHA-256 of what a row says."""
    return sha256(canonical(sheet, item)).hexdigest()


def canonical(sheet: Sheet, item: Asset) -> bytes:
    """A row as JSON in UTF-8: table, site and the fields that are not empty, in the order of their names."""
    fields = {column.name: getattr(item, column.name) for column in sheet.kept}
    said = {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in fields.items()
        if value not in (None, "")
    }
    text = json.dumps([sheet.name, item.site_id, said], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def site_version(found: SiteAssets) -> int:
    """A number for what the register says of a site now, for who is to change only what they have seen."""
    said = [found.site.name, found.site.time_zone, found.region]
    said += [digest_of(SHEETS["sites"], found.card)] if found.card else []
    for name, items in found.assets.items():
        said += [f"{item.id} {digest_of(SHEETS[name], item)}" for item in items]
    return int.from_bytes(sha256(json.dumps(said).encode()).digest()[:VERSION_BYTES])


def add_versions(db: Session, written: Iterable[tuple[Sheet, int]], now: datetime) -> None:
    """Note what the rows say, in the transaction that wrote and flushed them.

    They are read anew, because the digest is of what the database holds: PostgreSQL, for one, takes no NUL.
    """
    wanted: dict[str, set[int]] = defaultdict(set)
    for sheet, number in written:
        wanted[sheet.name].add(number)
    for name, numbers in wanted.items():
        sheet, listed = SHEETS[name], sorted(numbers)
        for start in range(0, len(listed), IDS_PER_QUERY):
            some = key_of(sheet).in_(listed[start : start + IDS_PER_QUERY])
            query: Select[Any, int] = select(sheet.model, key_of(sheet)).where(some).order_by(key_of(sheet))
            rows = db.execute(query.execution_options(populate_existing=True)).all()
            db.add_all(
                AssetVersion(sheet=name, asset_id=number, at=now, sha256=digest_of(sheet, item))
                for item, number in rows
            )
    db.flush()


def add_removal(db: Session, sheet: Sheet, asset_id: int, now: datetime) -> None:
    """Note that a row was taken out."""
    db.add(AssetVersion(sheet=sheet.name, asset_id=asset_id, at=now, sha256=REMOVED))
    db.flush()


def verify_assets(db: Session) -> tuple[int, list[str]]:
    """How many rows there are, and which are not what was written last, slipped in, or are gone."""
    if not inspect(db.connection()).has_table(AssetVersion.__tablename__):
        return 0, []  # the record is older than the versions
    count, problems = 0, list[str]()
    for sheet in SHEETS.values():
        newest, key = _newest(sheet).subquery(), key_of(sheet)
        rows: Select[Any] = select(sheet.model, key, newest.c.sha256).outerjoin(newest, newest.c.asset_id == key)
        for item, number, digest in db.execute(rows.order_by(key).execution_options(yield_per=IDS_PER_QUERY)):
            count += 1
            if digest is None:
                problems.append(f"asset {sheet.name} {number}: nothing tells that it was written")
            elif digest != digest_of(sheet, item):
                problems.append(f"asset {sheet.name} {number}: is not what was written last")
        gone = select(newest.c.asset_id).where(newest.c.sha256 != REMOVED, ~exists().where(key == newest.c.asset_id))
        problems += [f"asset {sheet.name} {number}: is gone" for number in db.scalars(gone.order_by(newest.c.asset_id))]
    return count, problems


def _newest(sheet: Sheet) -> Select[int, str]:
    """The newest version of each asset of a table."""
    last = select(func.max(AssetVersion.id)).where(AssetVersion.sheet == sheet.name).group_by(AssetVersion.asset_id)
    return select(AssetVersion.asset_id, AssetVersion.sha256).where(AssetVersion.id.in_(last))
