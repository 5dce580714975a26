"""Drafts, signatures and corrections: what may be done with a record, by whom and when, in the caller's transaction.

A draft is signed by a role that its sheet names, when its day is late enough, with what the boxes saw read again within
the hour. From then on the record stands still; a correction makes the next edition and keeps the original legible.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from hashlib import sha256

from pydantic import ValidationError
from sqlalchemy import Select, inspect, select
from sqlalchemy.orm import Session

from server.audit import note, person
from server.models import Site, User
from server.models_self_control import SelfControlEdition, SelfControlRecord
from server.policy import may
from server.reports.document import FIRST_PREVIOUS, Correction, Entry, EntryMove, canonical
from server.scope import within
from server.self_control.catalogue import Kind, Sheet, sheets
from server.self_control.document import Form, Record, Seen, draft_of, statements
from server.self_control.periods import Period, bounds, period_of, sign_from
from server.self_control.refusals import Refused
from server.self_control.sheet import fill_in, incomplete, make_content

LIST_MAX = 200
FRESH = timedelta(hours=1)
EDITIONS_MAX = 100
CORRECTED_CHARACTERS_MAX, REASON_CHARACTERS_MAX = 4000, 500
FIRST_DAY = date(1971, 1, 2)


def visible_record(db: Session, viewer: User, record_id: int) -> SelfControlRecord | None:
    return db.scalar(_visible(viewer).where(SelfControlRecord.id == record_id))


def _visible(viewer: User) -> Select[SelfControlRecord]:
    return select(SelfControlRecord).where(within(viewer, SelfControlRecord.site_id))


def list_records(
    db: Session, viewer: User, site_id: int | None = None, kind: Kind | None = None, before: int | None = None
) -> list[SelfControlRecord]:
    """The newest records that this person may see; *before* is the id to go on from."""
    query = _visible(viewer).order_by(SelfControlRecord.id.desc()).limit(LIST_MAX)
    if site_id is not None:
        query = query.where(SelfControlRecord.site_id == site_id)
    if kind is not None:
        query = query.where(SelfControlRecord.kind == kind)
    if before is not None:
        query = query.where(SelfControlRecord.id < before)
    return list(db.scalars(query))


def find_record(db: Session, site: Site, period: Period) -> SelfControlRecord | None:
    return db.scalar(
        select(SelfControlRecord).where(
            SelfControlRecord.site_id == site.id,
            SelfControlRecord.kind == period.kind,
            SelfControlRecord.first_day == period.first,
        )
    )


def wanted_period(kind: Kind, day: date, zone: str, now: datetime) -> Period:
    """The period of a day that has begun; raises Refused."""
    if not FIRST_DAY <= day <= date(2200, 1, 1) or bounds(period_of(kind, day), zone)[0] > now:
        raise Refused("day_wrong", "choose a day that has begun")
    return period_of(kind, day)


def open_draft(
    db: Session, user: User, site: Site, period: Period, seen: Seen, now: datetime, remote: str
) -> SelfControlRecord:
    """A new draft, filled in from what was seen; the one that is there when somebody was quicker."""
    existing = find_record(db, site, period)
    if existing is not None:
        return existing
    record = SelfControlRecord(
        site_id=site.id, kind=period.kind, first_day=period.first, opened_at=now, opened_by_id=user.id,
        form=fill_in(sheets()[period.kind], seen).model_dump(mode="json"), seen=seen.model_dump(mode="json"),
        site=site,
    )  # fmt: skip
    db.add(record)
    db.flush()
    _note(db, user, record, "selfcontrol.open", remote)
    return record


def period_in(record: SelfControlRecord) -> Period:
    return period_of(sheet_of(record).kind, record.first_day)


def sheet_of(record: SelfControlRecord) -> Sheet:
    return next(sheet for kind, sheet in sheets().items() if kind == record.kind)


def draft_in(record: SelfControlRecord) -> Record:
    """The draft as it would be signed now."""
    seen, form = Seen.model_validate(record.seen), Form.model_validate(record.form)
    return draft_of(make_content(sheet_of(record), record.site, period_in(record), seen, form))


def load(db: Session, record: SelfControlRecord) -> Record:
    """The newest edition, or the draft; raises Refused when its bytes are not those that were signed."""
    if record.edition == 0:
        return draft_in(record)
    row = db.scalar(
        select(SelfControlEdition).where(
            SelfControlEdition.record_id == record.id, SelfControlEdition.edition == record.edition
        )
    )
    if row is None or sha256(row.document).hexdigest() != row.sha256:
        raise Refused("lost", "the signed record is damaged; run brightline-server verify", status=500)
    return Record.model_validate_json(row.document)


def change_draft(
    db: Session, user: User, record: SelfControlRecord, version: int, form: Form, seen: Seen | None, remote: str
) -> None:
    """Write the form; with *seen*, what the boxes saw as well. Raises Refused."""
    _check_draft(record, version)
    sheet = sheet_of(record)
    now_seen = seen or Seen.model_validate(record.seen)
    record.form = fill_in(sheet, now_seen, form).model_dump(mode="json")
    if seen is not None:
        record.seen = seen.model_dump(mode="json")
    db.flush()
    _note(db, user, record, "selfcontrol.edit", remote)


def _check_draft(record: SelfControlRecord, version: int) -> None:
    if record.edition > 0:
        raise Refused("signed", "a signed record is not edited; correct it", status=409)
    if record.version != version:
        raise Refused("changed", "somebody was quicker; look again", status=409)


def signer_fits(user: User, sheet: Sheet) -> bool:
    """Whether this person's role signs and corrects such records."""
    return may(user, "selfcontrol.sign") and user.role in sheet.signed_by


def sign(
    db: Session, user: User, record: SelfControlRecord, seen_sha256: str, note_: str, now: datetime, remote: str
) -> Record:
    """Freeze and sign what the person had before them, by its digest; raises Refused."""
    sheet, period, zone = sheet_of(record), period_in(record), record.site.time_zone
    if not signer_fits(user, sheet):
        raise Refused("wrong_signer", "another role signs this record", status=403)
    if record.edition > 0:
        raise Refused("signed", "it is signed already", status=409)
    draft = draft_in(record)
    if draft.content_sha256 != seen_sha256:
        raise Refused("changed", "somebody was quicker; look again", status=409)
    if now < sign_from(period, zone, sheet):
        raise Refused("too_early", "the period is not far enough; sign later")
    seen = draft.content.seen
    if seen.until < min(bounds(period, zone)[1], now - FRESH):
        raise Refused("stale", "read again what the boxes saw, then sign")
    lacks = incomplete(sheet, seen, draft.content.form)
    if lacks:
        raise Refused("incomplete", f"still missing: {', '.join(lacks[:20])}", lacks=tuple(lacks))
    signed = _add_edition(db, user, record, draft, "signed", note_, None, now, remote)
    return signed


def correct(
    db: Session,
    user: User,
    record: SelfControlRecord,
    target: str,
    corrected: str,
    reason: str,
    now: datetime,
    remote: str,
) -> Record:
    """Put *corrected* beside a statement of a signed record; raises Refused."""
    if not signer_fits(user, sheet_of(record)):
        raise Refused("wrong_signer", "another role corrects this record", status=403)
    if record.edition == 0:
        raise Refused("unsigned_correct", "a draft is edited, not corrected", status=409)
    document = load(db, record)
    original = statements(document.content).get(target)
    if original is None:
        raise Refused("target_unknown", "there is no such statement in the record")
    text = corrected.strip()
    if not text or len(text) > CORRECTED_CHARACTERS_MAX:
        raise Refused("correction_text", f"give the correction, at most {CORRECTED_CHARACTERS_MAX} characters")
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise Refused("reason_missing", f"say why, in at most {REASON_CHARACTERS_MAX} characters")
    made = Correction(target=target, original=original, corrected=text, reason=reason.strip())
    return _add_edition(db, user, record, document, "corrected", "", made, now, remote)


def _add_edition(
    db: Session,
    user: User,
    record: SelfControlRecord,
    document: Record,
    move: EntryMove,
    note_: str,
    correction: Correction | None,
    now: datetime,
    remote: str,
) -> Record:
    if document.edition >= EDITIONS_MAX:
        raise Refused("editions", "it was corrected too often", status=409)
    previous = FIRST_PREVIOUS if document.edition == 0 else sha256(canonical(document)).hexdigest()
    entry = Entry(
        edition=document.edition + 1, move=move, username=user.username, name=user.display_name, role=user.role,
        at=now.replace(microsecond=0), note=note_.strip()[:REASON_CHARACTERS_MAX], correction=correction,
        previous_sha256=previous,
    )  # fmt: skip
    made = document.model_copy(update={"edition": entry.edition, "entries": [*document.entries, entry]})
    raw = canonical(made)
    db.add(
        SelfControlEdition(
            record_id=record.id, edition=made.edition, move=move, user_id=user.id, at=entry.at, remote_addr=remote[:64],
            document=raw, sha256=sha256(raw).hexdigest(),
        )
    )  # fmt: skip
    if record.edition == 0:
        record.zero_risk, record.signed_at = document.content.zero_risk, entry.at
    record.edition = made.edition
    db.flush()
    _note(db, user, record, f"selfcontrol.{move}", remote, {"sha256": sha256(raw).hexdigest()})
    return made


def _note(
    db: Session, user: User, record: SelfControlRecord, action: str, remote: str, more: dict[str, str] | None = None
) -> None:
    said = {"kind": record.kind, "day": record.first_day.isoformat(), **(more or {})}
    note(db, person(user, remote), action, ("record", record.id), said, site_id=record.site_id)


def _read(row: SelfControlEdition) -> Record | None:
    try:
        return Record.model_validate_json(row.document)
    except ValidationError:
        return None


def _follows(document: Record | None, edition: int, before: int, previous_sha256: str) -> bool:
    if document is None or not document.edition == edition == before + 1 == len(document.entries):
        return False
    return document.entries[-1].previous_sha256 == previous_sha256


def _summary(document: Record) -> tuple[object, ...]:
    """What the record's row repeats of its document."""
    told = document.content
    return told.kind, told.first_day, told.zero_risk, document.entries[0].at


def verify_records(db: Session) -> tuple[int, list[str]]:
    """How many editions there are, and what is wrong: bytes, chain, or a record that is not its newest edition."""
    if not inspect(db.connection()).has_table(SelfControlEdition.__tablename__):
        return 0, []
    problems: list[str] = []
    count, newest, previous = 0, dict[int, int](), FIRST_PREVIOUS
    summaries: dict[int, tuple[object, ...]] = {}
    ordered = select(SelfControlEdition).order_by(SelfControlEdition.record_id, SelfControlEdition.edition)
    for row in db.scalars(ordered.execution_options(yield_per=200)):
        count += 1
        name = f"self-control record {row.record_id} edition {row.edition}"
        previous = previous if row.record_id in newest else FIRST_PREVIOUS
        if sha256(row.document).hexdigest() != row.sha256:
            problems.append(f"{name}: its bytes are not those of its digest")
        else:
            document = _read(row)
            if not _follows(document, row.edition, newest.get(row.record_id, 0), previous):
                problems.append(f"{name}: does not follow the edition before it")
            elif document is not None:
                summaries[row.record_id] = _summary(document)
        newest[row.record_id], previous = row.edition, row.sha256
    for record in db.scalars(select(SelfControlRecord).where(SelfControlRecord.edition > 0)):
        if newest.get(record.id) != record.edition:
            problems.append(f"self-control record {record.id}: edition {record.edition} is gone")
        elif record.id in summaries and summaries[record.id] != (
            record.kind, record.first_day, record.zero_risk, record.signed_at,
        ):  # fmt: skip
            problems.append(f"self-control record {record.id}: its row is not what was signed")
    return count, problems
