"""What pages, programs and the console ask of the register: look a file through, take it, give it out, edit one row.

A file is first looked through; what is then taken are the rows of that look, and only if they would still do the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from server.assets import editing, register
from server.assets.plan import Change, Plan, make_plan
from server.assets.register import TooMany, export_tables, template
from server.assets.rows import Row, RowError, dump, load, read_rows, row_of
from server.assets.sheets import SHEETS, Sheet
from server.assets.table_file import FileRefused, read_tables
from server.assets.table_writing import Format, write_csv, write_xlsx
from server.assets.versions import site_version
from server.audit import Actor, note, person
from server.conditional import check_match
from server.deps import AppState, look_up, transact
from server.models import User
from server.models_assets import DRAFT_LIFE, AssetDraft
from server.problems import Problem

CHANGES_SHOWN_MAX = 200
TOKEN_BYTES = 16


@dataclass(frozen=True)
class Checked:
    """A file that was looked through."""

    rows: Sequence[Row]
    plan: Plan

    def say(self, language: str) -> dict[str, Any]:
        """The report: how much would change, what (masked, the first ones), and everything that is wrong."""
        return {
            "counts": self.plan.counts(),
            "digest": self.plan.digest,
            "changes": [say_change(change, language) for change in self.plan.changes[:CHANGES_SHOWN_MAX]],
            "errors": [error.say(language) for error in self.plan.errors],
        }


def say_change(change: Change, language: str) -> dict[str, Any]:
    """One change as people read it."""
    columns = {column.name: column for column in change.row.sheet.columns}
    return {
        "sheet": change.row.sheet.name,
        "row": change.row.number,
        "site": change.row.site,
        "action": change.action,
        "key": " ".join(columns[name].write(change.row.values[name], language) for name in change.row.sheet.key),
        "fields": {
            name: [columns[name].write(old, language), columns[name].write(new, language)]
            for name, (old, new) in change.fields.items()
        },
    }


class AssetsWrong(Problem):
    """Rows that cannot be taken; *errors* name each cell."""

    def __init__(self, errors: Sequence[RowError]) -> None:
        super().__init__(422, "asset_wrong", f"nothing was taken: {len(errors)} errors")
        self.errors = errors


def unknown() -> Problem:
    return Problem(404, "asset_unknown", "there is no such site or asset for you")


def check_file(db: Session, user: User | None, data: bytes) -> Checked:
    """Look a file through; changes nothing. *user* is None at the console."""
    try:
        found = read_rows(read_tables(data))
    except FileRefused as error:
        return Checked((), Plan(errors=[RowError("", int(error.args_.get("row", 1)), "", error.code, error.args_)]))
    return check_rows(db, user, found.rows, found.errors)


def check_rows(db: Session, user: User | None, rows: Sequence[Row], errors: Sequence[RowError] = ()) -> Checked:
    """Compare rows with the record; *errors* are those found before."""
    plan = make_plan(db, user, rows)
    plan.errors[:0] = errors
    return Checked(rows, plan)


def take(db: Session, user: User | None, rows: Sequence[Row], actor: Actor, digest: str | None = None) -> Plan:
    """Take rows in the caller's transaction; raises AssetsWrong, or Problem when it would be another than *digest*."""
    plan = make_plan(db, user, rows)
    if plan.errors:
        raise AssetsWrong(plan.errors)
    if digest is not None and plan.digest != digest:
        raise Problem(409, "asset_changed", "the record changed since the file was looked through; look again")
    editing.carry_out(db, plan, actor)
    return plan


def draft(state: AppState, user: User, data: bytes) -> tuple[Checked, str]:
    """Look a file through and keep its rows for an hour, so that they can be taken; the token is empty with errors."""
    checked = look_up(state, lambda db: check_file(db, user, data))
    if checked.plan.errors or not checked.plan.changes:
        return checked, ""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    now = datetime.now(UTC)
    row = AssetDraft(
        token=sha256(token.encode()).hexdigest()[:32], user_id=user.id, made_at=now, digest=checked.plan.digest,
        rows={"rows": dump(checked.rows)},
    )  # fmt: skip

    def keep(db: Session) -> None:
        db.execute(delete(AssetDraft).where((AssetDraft.made_at < now - DRAFT_LIFE) | (AssetDraft.user_id == user.id)))
        db.add(row)

    transact(state, keep)
    return checked, token


def take_draft(state: AppState, user: User, token: str, remote: str) -> Plan:
    """Take the rows of a draft of one's own; raises Problem."""

    def work(db: Session) -> Plan:
        row = db.get(AssetDraft, sha256(token.encode()).hexdigest()[:32])
        if row is None or row.user_id != user.id or row.made_at < datetime.now(UTC) - DRAFT_LIFE:
            raise Problem(409, "asset_draft_gone", "the file was looked through too long ago; give it again")
        plan = take(db, user, load(row.rows["rows"]), person(user, remote), row.digest)
        db.delete(row)
        return plan

    plan = transact(state, work)
    state.public.forget()
    return plan


def take_file(state: AppState, user: User, data: bytes, digest: str | None, remote: str) -> Plan:
    """Look a file through and take it in one go; raises AssetsWrong or Problem."""
    checked = look_up(state, lambda db: check_file(db, user, data))
    if checked.plan.errors:
        raise AssetsWrong(checked.plan.errors)
    plan = transact(state, lambda db: take(db, user, checked.rows, person(user, remote), digest))
    state.public.forget()
    return plan


@dataclass(frozen=True)
class SiteHand:
    """Who changes which site's assets, from where; *if_match*: only if the site still is as that tag says."""

    user: User
    site_id: int
    remote: str
    if_match: str | None = None

    def check(self, db: Session) -> None:
        """Raises Problem 412 if the site has changed, in the transaction that changes it."""
        found = register.get_site(db, self.user, self.site_id) if self.if_match is not None else None
        if found is not None:
            check_match(self.if_match, site_version(found))


def put_row(state: AppState, hand: SiteHand, sheet: Sheet, texts: Mapping[str, str]) -> Plan:
    """Add or change one row of a site the caller may see; raises AssetsWrong or Problem."""
    user = hand.user
    site = look_up(state, lambda db: register.visible_site(db, user, hand.site_id))
    if site is None:
        raise unknown()
    found = row_of(sheet, {**texts, "site": site.name})
    if found.errors:
        raise AssetsWrong(found.errors)

    def put(db: Session) -> Plan:
        hand.check(db)
        return take(db, user, found.rows, person(user, hand.remote))

    plan = transact(state, put)
    state.public.forget()
    return plan


def remove_asset(state: AppState, hand: SiteHand, sheet: Sheet, asset_id: int) -> None:
    """Take one asset out; once it is gone nothing more happens. Raises Problem for a site that is none of theirs."""
    if look_up(state, lambda db: register.visible_site(db, hand.user, hand.site_id)) is None:
        raise unknown()

    def take_out(db: Session) -> None:
        hand.check(db)
        editing.remove(db, hand.user, sheet, hand.site_id, asset_id, person(hand.user, hand.remote))

    try:
        transact(state, take_out)
    except editing.UnknownAsset:
        return
    state.public.forget()


def renew_public_page(state: AppState, user: User, site_id: int, remote: str) -> str:
    """The token of a new public page; raises Problem."""
    try:
        token = transact(state, lambda db: editing.renew_token(db, user, site_id, person(user, remote)))
    except editing.UnknownAsset as error:
        raise unknown() from error
    state.public.forget()
    return token


def export_file(db: Session, viewer: User | None, name: str, format_: Format, language: str) -> bytes:
    """One table, or all (*name* is empty; XLSX only), as a file that can be taken again. Raises Problem."""
    try:
        tables = export_tables(db, viewer, [name] if name else list(SHEETS), language)
    except TooMany as error:
        raise Problem(422, "asset_too_many", "too many rows for one file; export one table at a time") from error
    return write_csv(tables[0]) if format_ == "csv" else write_xlsx(tables)


def note_export(db: Session, actor: Actor, name: str, format_: Format) -> None:
    """Who takes a file is on record before they have it."""
    note(db, actor, "asset.export", ("assets", name or "all"), {"format": format_})


def give_out(state: AppState, user: User, name: str, format_: Format, language: str, remote: str) -> bytes:
    """`export_file`, on record; the file is made without keeping writers waiting."""
    data = look_up(state, lambda db: export_file(db, user, name, format_, language))
    transact(state, lambda db: note_export(db, person(user, remote), name, format_))
    return data


def template_file(name: str, format_: Format, language: str) -> bytes:
    """Headings to fill in: one table as CSV, or all of them (*name* is empty) as XLSX."""
    tables = [template(sheet, language) for sheet in SHEETS.values() if not name or sheet.name == name]
    return write_csv(tables[0]) if format_ == "csv" else write_xlsx(tables)
