"""Reads of the register: what sites a person sees, and what those have. Names and numbers are masked for most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.assets.cells import Column, Value
from server.assets.masking import MASKS
from server.assets.sheets import SHEETS, Asset, Sheet
from server.assets.table_writing import TextTable
from server.i18n import translate
from server.models import Box, Region, Site, User
from server.models_assets import Certificate, SiteCard
from server.policy import may
from server.regions import region_names
from server.scope import within
from server.series.port import SeriesStore, SeriesUnavailable

SITES_PER_PAGE = 50
IDS_PER_QUERY = 500
EXPORT_ROWS_MAX = 5_000  # what is exported can be imported again in one go
WARN_DAYS = 30
Held: TypeAlias = "dict[tuple[Any, ...], Asset]"


class TooMany(Exception):
    """More rows than one file may hold; narrow the sites down."""


@dataclass(frozen=True)
class SiteLine:
    """A site in the list, with how many of its papers run out soon or have run out."""

    site: Site
    card: SiteCard | None
    expiring: int


@dataclass(frozen=True)
class SiteAssets:
    """A site with all that it has, by table."""

    site: Site
    region: str
    card: SiteCard | None
    assets: Mapping[str, Sequence[Any]]
    box_ids: Sequence[str] = ()


def held_by(db: Session, site_ids: Sequence[int]) -> Held:
    """All assets of the sites: (table, site, natural key ...) → the object."""
    found: Held = {}
    for start in range(0, len(site_ids), IDS_PER_QUERY):
        part = site_ids[start : start + IDS_PER_QUERY]
        for sheet in SHEETS.values():
            model: Any = sheet.model
            for item in db.scalars(select(model).where(model.site_id.in_(part))):
                found[(sheet.name, item.site_id, *(getattr(item, name) for name in sheet.key))] = item
    return found


def list_sites(db: Session, viewer: User, name_part: str = "", after: str = "") -> list[SiteLine]:
    """The first sites by name after *after* that this person may see, with *name_part* in it."""
    query = select(Site, SiteCard).outerjoin(SiteCard, SiteCard.site_id == Site.id)
    query = query.where(within(viewer, Site.id), Site.name > after).order_by(Site.name).limit(SITES_PER_PAGE + 1)
    if name_part:
        query = query.where(Site.name.contains(name_part, autoescape=True))
    rows = db.execute(query).all()
    soon = datetime.now(UTC).date() + timedelta(days=WARN_DAYS)
    counted = select(Certificate.site_id, func.count()).where(
        Certificate.site_id.in_([site.id for site, _ in rows]), Certificate.expires_on <= soon
    )
    expiring = dict(db.execute(counted.group_by(Certificate.site_id)).all())
    return [SiteLine(site, card, expiring.get(site.id, 0)) for site, card in rows]


def visible_site(db: Session, viewer: User, site_id: int) -> Site | None:
    """The site, or None when this person may not see it."""
    return db.scalar(select(Site).where(Site.id == site_id, within(viewer, Site.id)))


def get_site(db: Session, viewer: User, site_id: int) -> SiteAssets | None:
    """A site with its assets, or None when this person may not see it."""
    site = visible_site(db, viewer, site_id)
    return site_assets(db, site) if site is not None else None


def site_assets(db: Session, site: Site) -> SiteAssets:
    """A site with its assets."""
    assets = {
        sheet.name: list(
            db.scalars(
                select(sheet.model)
                .where(sheet.model.site_id == site.id)
                .order_by(*(getattr(sheet.model, name) for name in sheet.key))
            )
        )
        for sheet in SHEETS.values()
        if sheet.key
    }
    region = region_names(db, site.region) if site.region else ""
    boxes = list(db.scalars(select(Box.id).where(Box.site_id == site.id).order_by(Box.id)))
    return SiteAssets(site, region, db.get(SiteCard, site.id), assets, boxes)


def unlinked(series: SeriesStore, found: SiteAssets) -> list[str]:
    """``box/id`` of the sensors that the site's boxes report and that stand in no row; none while the store is away."""
    linked = {(sensor.box_id, sensor.source_id) for sensor in found.assets["sensors"]}
    try:
        keys = [key for box_id in found.box_ids for key in series.keys(box_id)]
    except SeriesUnavailable:
        return []  # a hint only: the page goes without it
    reported = sorted({(key.box_id, key.sensor_id) for key in keys} - linked)
    return [f"{box_id}/{sensor_id}" for box_id, sensor_id in reported]


def sees_names(viewer: User | None, sheet: Sheet) -> bool:
    """Whether somebody reads names and numbers in full: who edits them, and those who have to call a site's people."""
    if viewer is None or may(viewer, "site.edit"):
        return True
    return sheet.name == "contacts" and may(viewer, "alert.acknowledge")


def shown(column: Column, value: Value, *, full: bool, licence: bool = False) -> Value:
    """A value as somebody may see it; the number and the holder of a licence are public."""
    if full or licence or column.masked is None or not isinstance(value, str):
        return value
    return MASKS[column.masked](value)


def asset_json(sheet: Sheet, item: Any, viewer: User) -> dict[str, Any]:
    """An asset as the API shows it to this person."""
    full = sees_names(viewer, sheet)
    licence = getattr(item, "kind", "") == "licence"
    said = {column.name: shown(column, getattr(item, column.name), full=full, licence=licence) for column in sheet.kept}
    return {"id": item.id, **said} if sheet.key else said


def site_json(found: SiteAssets, viewer: User) -> dict[str, Any]:
    """A site with its assets as the API shows it to this person."""
    card = asset_json(SHEETS["sites"], found.card, viewer) if found.card else {"type": "", "address": "", "grade": ""}
    return {
        "id": found.site.id, "name": found.site.name, "region": found.region, "time_zone": found.site.time_zone, **card,
        **{name: [asset_json(SHEETS[name], item, viewer) for item in items] for name, items in found.assets.items()},
    }  # fmt: skip


def local_day(site: Site, now: datetime) -> date:
    """The day at the site."""
    return now.astimezone(ZoneInfo(site.time_zone)).date()


def export_tables(db: Session, viewer: User | None, names: Iterable[str], language: str) -> list[TextTable]:
    """The tables of all sites in reach, as `read_tables` reads them. Raises TooMany."""
    query = select(Site) if viewer is None else select(Site).where(within(viewer, Site.id))
    sites = {site.id: site for site in db.scalars(query.order_by(Site.name).limit(EXPORT_ROWS_MAX + 1))}
    regions = {region.id: region_names(db, region) for region in _regions_of(sites.values())}
    held = held_by(db, list(sites))
    tables = []
    left = EXPORT_ROWS_MAX
    for sheet in (SHEETS[name] for name in names):
        if sheet.key:
            items = sorted((key[1:], item) for key, item in held.items() if key[0] == sheet.name)
            rows = [_texts(sheet, sites[key[0]], item, "", viewer, language) for key, item in items]
        else:
            rows = [
                _texts(sheet, site, held.get((sheet.name, site.id)), regions.get(site.region_id or 0, ""), viewer,
                       language)
                for site in sites.values()
            ]  # fmt: skip
        left -= len(rows)
        if left < 0:
            raise TooMany
        rows.sort(key=lambda row: row[0])
        tables.append(template(sheet, language, rows))
    return tables


def template(sheet: Sheet, language: str, rows: Sequence[Sequence[str]] = ()) -> TextTable:
    """A table with its headings, by default to fill in."""
    headings = [translate(language, f"asset_{column.name}") for column in sheet.all_columns]
    return TextTable(translate(language, f"asset_sheet_{sheet.name}"), headings, rows)


def _regions_of(sites: Iterable[Site]) -> list[Region]:
    return list({site.region.id: site.region for site in sites if site.region}.values())


def _texts(sheet: Sheet, site: Site, item: Any, region: str, viewer: User | None, language: str) -> list[str]:
    full = sees_names(viewer, sheet)
    licence = getattr(item, "kind", "") == "licence"
    elsewhere: dict[str, Callable[[], str]] = {"region": lambda: region, "time_zone": lambda: site.time_zone}
    texts = [site.name]
    for column in sheet.columns:
        if column.name in elsewhere and column.name in sheet.extra:
            texts.append(elsewhere[column.name]())
            continue
        value = getattr(item, column.name) if item is not None else None
        texts.append(column.write(shown(column, value, full=full, licence=licence), language))
    return texts
