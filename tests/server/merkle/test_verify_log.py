"""`verify` finds what was changed in rows, leaves, pictures and heads, each by its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from server.merkle.checkpoint import LogKey
from server.merkle.log import known_keys
from server.merkle.verification import HeldOutside, read_heads_file
from telemetry.batch import sha256_hex
from telemetry.signing import Signer
from tests.server.merkle.small_record import SmallRecord, readings


def test_a_whole_record_is_in_the_log_and_accepted(whole: SmallRecord) -> None:
    held = read_heads_file(whole.data / "log-heads.jsonl")
    found = whole.verify(HeldOutside([LogKey.of(whole.signer.public_key)], held))
    assert (found.problems, found.gaps) == ([], [])
    assert (found.log_heads, len(held)) == (4, 2)
    # 3 batches, 1 picture, 1 alert, 3 moves, 1 rectification, its photo and decision, the audit entries, and
    # a seal of each sealed row, of the alert once more when it was closed
    assert found.log_leaves == 11 + found.audit_entries + found.sealed_rows + 1


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE alert_move SET note = 'x' WHERE move = 'submit'", "log: move 2 is not what leaf"),
        ("UPDATE rectification SET note = 'x'", "log: rectification 1 is not what leaf"),
        ("UPDATE rectification SET accepted = 0", "log: decision 1 is not what leaf"),
        ("UPDATE evidence SET role = 'film'", "log: evidence "),
        ("UPDATE audit_entry SET action = 'x' WHERE seq = 1", "audit log: entry 1 was changed"),
        ("UPDATE alert SET site_id = site_id + 1", "log: alert 1 is not what leaf"),
        ("UPDATE batch SET seq = 7 WHERE lane = 'events'", "log: batch 2 is not what leaf"),
        ("UPDATE log_leaf SET sha256 = zeroblob(32) WHERE position = 1", "is not that of these leaves"),
        ("UPDATE log_node SET sha256 = zeroblob(32) WHERE level = 2", "does not follow from its leaves"),
        ("DELETE FROM log_leaf WHERE position = 2", "log: leaf 2 is missing"),
        ("UPDATE log_head SET note = 'x' || note", "is not signed by a known key"),
    ],
)
def test_a_changed_row_is_found(record: SmallRecord, statement: str, named: str) -> None:
    record.tamper(statement)
    problems = record.verify().problems
    assert any(named in line for line in problems), problems


def test_a_deleted_alert_is_found_even_with_all_that_tells_of_it(record: SmallRecord) -> None:
    """Also when the batch that raised it is deleted, so that nothing in the record misses it."""
    tables = (
        "alert_move",
        "rectification_photo",
        "rectification",
        "evidence",
        "alert",
        "event",
        "batch_source WHERE lane = 'events'",
    )
    record.tamper(*(f"DELETE FROM {table}" for table in tables), "DELETE FROM batch WHERE lane = 'events'")
    problems = record.verify().problems
    assert any(line.startswith("log: alert 1 of leaf") and line.endswith("is gone") for line in problems), problems


def test_a_swapped_snapshot_is_found(record: SmallRecord, jpeg: Callable[..., bytes]) -> None:
    digest = sha256_hex(jpeg(1))
    (record.data / "blobs" / digest[:2] / digest).write_bytes(jpeg(9))
    assert record.verify().problems == [f"picture {digest}: its bytes were changed"]


def test_a_truncated_log_is_found(record: SmallRecord) -> None:
    record.tamper("DELETE FROM log_leaf WHERE position >= 5")
    problems = record.verify().problems
    assert any("log: cut off at leaf 5" in line for line in problems), problems


def test_a_record_put_back_to_an_hour_ago_is_found_by_a_head_that_is_held_elsewhere(record: SmallRecord) -> None:
    """Rows, leaves and heads of the last hour are all gone: nothing inside can tell."""
    shutil.copy(record.data / "an-hour-ago.sqlite", record.data / "record.sqlite")
    assert record.verify().problems == []
    held = HeldOutside(notes=read_heads_file(record.data / "log-heads.jsonl"))
    assert any("log: cut off" in line for line in record.verify(held).problems)


def test_a_log_signed_anew_by_another_key_is_found_with_the_public_key_in_hand(record: SmallRecord) -> None:
    mine = LogKey.of(record.signer.public_key)
    record.tamper("DELETE FROM log_head", "DELETE FROM log_key")
    (record.data / "centre.key").unlink()
    record.grow()
    with record.changing() as db:
        assert known_keys(db) == [LogKey.of(record.signer.public_key)] != [mine]
    assert record.verify().problems == []
    assert record.verify(HeldOutside([mine])).problems == ["log: head 1 is not signed by a known key of the log"]


def test_what_came_since_waits_and_what_slipped_past_the_log_is_named(record: SmallRecord) -> None:
    with record.changing() as db:
        record.send(db, "readings", readings(2, 60.0))
    assert record.verify().gaps == ["log: 1 rows wait for their leaf"]
    record.tamper("DELETE FROM log_pending")
    assert record.verify().problems == ["log: batch 4 is in no leaf of the log"]


def test_heads_in_a_file_are_read_strictly(record: SmallRecord) -> None:
    path = record.data / "heads.jsonl"
    path.write_text('{"note": "x"}\n{"other": 1}\n')
    with pytest.raises(ValueError, match=":2: is no published head"):
        read_heads_file(path)
    found = record.verify(HeldOutside([LogKey.of(Signer.generate().public_key)], ["x"]))
    assert "log: head held outside 1 is no signed note" in found.problems
