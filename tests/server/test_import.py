"""What a box exported to a file is taken as if it had been sent, once, and nothing unproven with it."""

from __future__ import annotations

from pathlib import Path

from tests.server.centre import Centre, reading, run_cli, run_here


def test_an_exported_file_is_taken_once_and_what_is_not_proven_is_refused(centre: Centre, tmp_path: Path) -> None:
    box = centre.box()
    frames = [box.seal("readings", [reading(4.0, number)]) for number in range(5)]
    assert box.send(frames[0]).status_code == 200
    forged = bytearray(frames[4])
    forged[-1] ^= 1
    export = tmp_path / "export"
    export.write_bytes(b"".join([*frames[:4], bytes(forged)]))
    first = run_cli("import", str(export), "--data", str(centre.data), check=False)
    assert (first.returncode, first.stdout) == (1, "5 batches: 3 accepted, 1 duplicate, 1 refused\n")
    export.write_bytes(b"".join(frames))
    again = run_cli("import", str(export), "--data", str(centre.data))
    assert again.stdout == "5 batches: 1 accepted, 4 duplicate\n"
    rows = [row for row in centre.dump()["series_point"] if row[0] == box.box_id]
    assert len(rows) == 5


def test_a_file_that_is_no_export_is_told_without_a_traceback(centre: Centre, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"something else entirely")
    done = run_here("import", str(other), "--data", str(centre.data))
    assert (done.returncode, "is no export of a box" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
