"""Whichever column of whichever row is changed past the program, and whichever row is deleted, `verify` says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection, Table
from sqlalchemy.orm import Session

from server.assets.versions import verify_assets
from server.audit import verify_audit
from server.merkle.leaves import KINDS
from server.models import Base
from server.seals.tables import BY_MODEL, BY_NAME, LEFT_OUT
from server.seals.verification import verify_table
from tests.server.merkle.small_record import SmallRecord
from tests.server.seals.every_table import alter, delete_last, make_full_record, problems_of, tampering, undone

OF_A_MOMENT = "works for a moment only, and nobody reads it for what was"
OF_JOURNAL = "derived from the journal for what comes; what was is checked against the journal itself"
NOT_FOUND_OF_TABLE = {
    "login_session": OF_A_MOMENT + ": who logged in stands in the audit log",
    "stored_answer": OF_A_MOMENT,
    "oidc_used_state": OF_A_MOMENT,
    "asset_draft": OF_A_MOMENT,
    "duty": OF_A_MOMENT,
    "box_state": "the newest status of a box, anew with each beat; its signed event is in the journal",
    "box_silence": OF_A_MOMENT + ": its alert and its audit entry are found",
    "centre_watch": OF_A_MOMENT,
    "event_desk": "a counter; the changes themselves are sealed",
    "webhook_cursor": OF_A_MOMENT,
    "notification": "the post on its way; what it tells of, alert_change, is sealed",
    "notification_message": "the post on its way; what it tells of, alert_change, is sealed",
    "self_control_reminder": "that a notice was given once; what is missing is derived anew",
    "photo_band": "an index of rectification_photo.likeness, which is sealed",
    "lane_position": OF_JOURNAL,
    "clock_correction": OF_JOURNAL,
    "unsynced_point": OF_JOURNAL,
    "unsynced_event": OF_JOURNAL,
    "unsynced_batch": OF_JOURNAL,
    "batch_source": OF_JOURNAL,
    "series_cursor": "how far a series store is; the series itself is compared with the journal",
    "series_problem": "what a series store refused, told as a gap",
    "log_pending": "a row that waits for its leaf; one that is in no leaf and does not wait is found",
    "log_key": "a head that no known key signed is found, and so is a wrong key, with the public keys in hand",
}  # fmt: skip
NOT_FOUND = {
    "batch.received_at": "batches are not sealed, as that would slow down what comes in; the boxes sign their times",
    "evidence.received_at": "when a picture came; the box signs when it was taken",
    "log_head.sent_at": OF_A_MOMENT,
    "log_head.id": "a number; the note is signed",
    "log_head.size": "stands in the signed note",
    "log_head.at": "stands in the signed note",
    "tombstone.done_at": "whether the bytes are gone is looked at itself",
}
NOT_FOUND_WHEN_DELETED = {"log_head": "a head counts for who holds it: those held elsewhere are checked as well"}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> SmallRecord:
    return make_full_record(tmp_path_factory.mktemp("full") / "data", jpeg)


def known_problems(full: SmallRecord, connection: Connection) -> list[str]:
    """What is wrong with the rows that were made up: the report and the record of self-control lack their files."""
    found = sorted(problems_of(full, connection))
    assert all(line.startswith(("report x", "self-control record 1 edition 1")) for line in found), found
    return found


def is_found(
    full: SmallRecord, connection: Connection, table: Table, before: list[str], tamper: Callable[[], None]
) -> bool:
    """Whether *tamper*, which is undone, makes `verify` find more than *before*.

    The quick parts are asked first: the seals of a sealed table; whether a leaf of the table is another one; the
    audit log and the register, in which nothing is wrong before.
    """
    with undone(connection), Session(connection, join_transaction_mode="create_savepoint") as db:
        leaves = leaves_of(db, table)
        tamper()
        if table.name in BY_NAME:
            return verify_table(db, BY_NAME[table.name])[1] != []
        if leaves_of(db, table) != leaves or verify_audit(db)[1] or verify_assets(db)[1]:
            return True
        return sorted(problems_of(full, connection)) != before


def leaves_of(db: Session, table: Table) -> list[bytes]:
    """What the log has to say of a table: `verify` compares each leaf with its row, and each row with its leaf."""
    kinds = [kind for kind in KINDS.values() if kind.table == table.name]
    return [kind.data(row) for kind in kinds for row in db.execute(kind.query())]


def test_a_changed_column_is_found_whichever_it_is(full: SmallRecord) -> None:
    left_out = {f"{BY_MODEL[model].name}.{name}" for model, names in LEFT_OUT.items() for name in names}
    missed = []
    with tampering(full) as connection:
        before = known_problems(full, connection)
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                name = f"{table.name}.{column.name}"
                if table.name in NOT_FOUND_OF_TABLE or name in left_out | NOT_FOUND.keys():
                    continue
                if not is_found(full, connection, table, before, partial(alter, connection, table, column)):
                    missed.append(name)
    assert missed == []


def test_a_deleted_row_is_found_whichever_it_is(full: SmallRecord) -> None:
    missed = []
    with tampering(full) as connection:
        before = known_problems(full, connection)
        for table in Base.metadata.sorted_tables:
            if table.name in NOT_FOUND_OF_TABLE | NOT_FOUND_WHEN_DELETED:
                continue
            if not is_found(full, connection, table, before, partial(delete_last, connection, table)):
                missed.append(table.name)
    assert missed == []


def test_every_exception_is_of_a_column_that_there_is() -> None:
    tables = Base.metadata.tables
    assert set(tables) >= NOT_FOUND_OF_TABLE.keys()
    columns = {f"{table.name}.{column.name}" for table in tables.values() for column in table.columns}
    assert columns >= NOT_FOUND.keys()
    for model, names in LEFT_OUT.items():
        assert set(BY_MODEL[model].table.columns.keys()) >= set(names)


def test_a_damaged_key_of_a_box_is_named_with_its_box(full: SmallRecord) -> None:
    with tampering(full) as connection, undone(connection):
        connection.exec_driver_sql("UPDATE box SET public_key = 'no key' WHERE id = ?", (full.box_id,))
        problems = problems_of(full, connection)
    assert {
        f"box {full.box_id}: is not what was written last",
        f"box {full.box_id}: a key of it on record is no key",
    } <= {*problems}
