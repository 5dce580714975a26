"""Changes of the register: each is in the audit log, masked, and settles the warnings of papers that run out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.assets.cells import Value
from server.assets.expiry import settle
from server.assets.masking import MASKS
from server.assets.plan import Change, Plan
from server.assets.register import Held, held_by, visible_site
from server.assets.sheets import SHEETS, Asset, Sheet
from server.assets.versions import add_removal, add_versions
from server.audit import Actor, Deed, note, note_all
from server.models import Site, User
from server.models_assets import SiteCard
from server.regions import ensure_region

TOKEN_BYTES = 16
_PAPERS = {"certificates", "sensors"}


class UnknownAsset(Exception):
    """There is no such asset for this person."""


def carry_out(db: Session, plan: Plan, actor: Actor) -> None:
    """Do what the plan says; it has no errors and was made in this transaction. Few statements, also for many rows."""
    assert not plan.errors, "a plan with errors is not carried out"
    sites = {
        change.row.site: _put_site(db, change, actor) for change in plan.changes if change.row.sheet.name == "sites"
    }
    for change in plan.changes:
        if change.row.site not in sites:
            sites[change.row.site] = ensure_site(db, change.row.site, actor=actor)
    held = held_by(db, sorted({site.id for site in sites.values()}))
    done = [(change, _put_asset(db, change, sites[change.row.site], held)) for change in plan.changes]
    db.flush()
    deeds = [_deed(change, sites[change.row.site], item) for change, item in done]
    note_all(db, actor, deeds)
    add_versions(db, [(change.row.sheet, _number(change.row.sheet, item)) for change, item in done], datetime.now(UTC))
    touched = {change.row.site for change in plan.changes if change.row.sheet.name in _PAPERS | {"sites"}}
    if touched:
        settle(db, datetime.now(UTC), [sites[name].id for name in sorted(touched)])


def _put_site(db: Session, change: Change, actor: Actor) -> Site:
    fields = {name: new for name, (_, new) in change.fields.items()}
    region = ensure_region(db, str(fields["region"]), actor) if fields.get("region") else None
    zone = {"time_zone": str(fields["time_zone"])} if fields.get("time_zone") else {}
    site = ensure_site(db, change.row.site, **zone, region=region, actor=actor)
    if zone:
        site.time_zone = zone["time_zone"]
    _card_of(db, site)
    return site


def _card_of(db: Session, site: Site) -> SiteCard:
    card = db.get(SiteCard, site.id)
    if card is None:
        card = SiteCard(site_id=site.id, type="", address="", grade="")
        db.add(card)
    return card


def _put_asset(db: Session, change: Change, site: Site, held: Held) -> Asset:
    """The asset as the row says; flushed by the caller."""
    sheet = change.row.sheet
    item = held.get((sheet.name, site.id, *change.row.key))
    if item is None:
        item = sheet.model(site_id=site.id, **{column.name: "" for column in sheet.kept if column.kind != "date"})
        db.add(item)
    for name, (_, new) in change.fields.items():
        if name not in sheet.extra:
            setattr(item, name, new)
    return item


def _deed(change: Change, site: Site, item: Any) -> Deed:
    return _told(change.action, change.row.sheet, site, _number(change.row.sheet, item), change.fields)


def _number(sheet: Sheet, item: Any) -> int:
    return int(item.id if sheet.key else item.site_id)


def remove(db: Session, user: User, sheet: Sheet, site_id: int, asset_id: int, actor: Actor) -> None:
    """Take an asset out of the register; raises UnknownAsset."""
    site = visible_site(db, user, site_id)
    item: Any = db.get(sheet.model, asset_id) if site and sheet.key else None
    if site is None or item is None or item.site_id != site.id:
        raise UnknownAsset
    fields: dict[str, tuple[Value, Value]] = {column.name: (getattr(item, column.name), "") for column in sheet.kept}
    db.delete(item)
    db.flush()
    note_all(db, actor, [_told("remove", sheet, site, asset_id, fields)])
    add_removal(db, sheet, asset_id, datetime.now(UTC))
    settle(db, datetime.now(UTC), [site.id])


def renew_token(db: Session, user: User, site_id: int, actor: Actor) -> str:
    """Give the site a new public page; the address of the old one leads nowhere from now on. Raises UnknownAsset."""
    site = visible_site(db, user, site_id)
    if site is None:
        raise UnknownAsset
    card = _card_of(db, site)
    had = card.public_token is not None
    card.public_token = secrets.token_urlsafe(TOKEN_BYTES)
    db.flush()
    add_versions(db, [(SHEETS["sites"], site.id)], datetime.now(UTC))  # the card may be new
    note(db, actor, "site.public_page", ("site", site.id), {"replaced": had}, site_id=site.id)
    return card.public_token


def _told(action: str, sheet: Sheet, site: Site, asset_id: int, fields: Mapping[str, tuple[Value, Value]]) -> Deed:
    """What the log says: old and new values, masked, as who reads the log need not read names."""
    secret = {column.name: MASKS[column.masked] for column in sheet.columns if column.masked}

    def said(name: str, value: Value) -> str:
        text = "" if value is None else str(value)
        return secret[name](text) if name in secret else text

    changed = {name: [said(name, old), said(name, new)] for name, (old, new) in fields.items()}
    return Deed(f"asset.{action}", (sheet.name, asset_id), {"site": site.name, "changed": changed}, site.id)
