"""An exported alert is proved with public keys alone; a changed byte anywhere in it is found."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from server.cli import main
from server.merkle.bundle_check import verify_bundle
from server.merkle.public_keys import PublicKeys, read_public_keys
from telemetry.signing import Signer
from tests.server.merkle.small_record import SmallRecord


@pytest.fixture(scope="module")
def exported(whole: SmallRecord, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bundle of the alert, and the file of public keys."""
    folder = tmp_path_factory.mktemp("exported")
    record = whole.copy(folder / "data")
    bundle, keys = folder / "alert.zip", folder / "keys.txt"
    assert main(["export", str(bundle), "--alert", "1", "--data", str(record.data)]) == 0
    with pytest.MonkeyPatch.context() as patch, keys.open("w") as out:
        patch.setattr("sys.stdout", out)
        assert main(["keys", "--data", str(record.data)]) == 0
    return bundle, keys


def changed(bundle: Path, to: Path, edit: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy with members edited; None leaves one out."""
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            data = edit(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return to


def test_a_bundle_is_accepted_without_the_record(
    exported: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, keys = exported
    assert main(["verify", "--offline", str(bundle), "--public-keys", str(keys)]) == 0
    assert "0 wrong" in capsys.readouterr().out
    found = verify_bundle(bundle, read_public_keys(keys))
    # the alert's batch and the two of readings; the alert, 3 moves, a repair, its photo and decision
    assert (found.batches, found.pictures, found.items) == (1, 1, 9)
    assert found.gaps == []


def test_the_days_of_a_site_are_exported_with_all_their_batches(
    whole: SmallRecord, data: Path, tmp_path: Path, exported: tuple[Path, Path]
) -> None:
    whole.copy(data)
    out = tmp_path / "days.zip"
    span = ["--from", "2026-01-02T00:00", "--to", "2026-01-03"]
    assert main(["export", str(out), "--site", "Canteen A", *span, "--data", str(data)]) == 0
    found = verify_bundle(out, read_public_keys(exported[1]))
    assert (found.problems, found.batches, found.pictures) == ([], 3, 1)
    assert main(["export", str(out), "--site", "Canteen A", *span, "--data", str(data)]) == 1  # never over a file


def test_alerts_with_the_same_picture_are_exported_with_what_was_signed_for_each(
    record: SmallRecord, jpeg: Callable[..., bytes], tmp_path: Path, exported: tuple[Path, Path]
) -> None:
    with record.changing() as db:
        record.raise_alert(db, "inc-2")
        record.send_picture(db, jpeg(1), "inc-2")
    record.grow()
    out = tmp_path / "days.zip"
    span = ["--from", "2026-01-02T00:00", "--to", "2026-01-03"]
    assert main(["export", str(out), "--site", "Canteen A", *span, "--data", str(record.data)]) == 0
    found = verify_bundle(out, read_public_keys(exported[1]))
    assert (found.problems, found.pictures) == ([], 2)


@pytest.mark.parametrize(
    ("member", "old", "new", "named"),
    [
        ("bundle.json", "擦干净了".encode(), "没擦干净".encode(), "does not lead to the root"),
        ("bundle.json", b'"accept"', b'"reject"', "does not lead to the root"),
        ("batches/", b"BLB1", b"BLB2", "malformed"),
        ("evidence/", b"no_mask", b"no_mast", "signature"),
        ("photos/", b"\xff\xd8", b"\xff\xd9", "its bytes were changed"),
    ],
)
def test_a_changed_byte_is_found(
    exported: tuple[Path, Path], tmp_path: Path, member: str, old: bytes, new: bytes, named: str
) -> None:
    bundle, keys = exported

    def edit(name: str, data: bytes) -> bytes:
        if not name.startswith(member):
            return data
        assert old in data
        return data.replace(old, new, 1)

    problems = verify_bundle(changed(bundle, tmp_path / "x.zip", edit), read_public_keys(keys)).problems
    assert any(named in line for line in problems), problems


def test_what_is_left_out_or_added_is_found(exported: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, keys = exported
    without = changed(bundle, tmp_path / "x.zip", lambda name, data: None if name.startswith("batches/") else data)
    assert any("not in the bundle" in line for line in verify_bundle(without, read_public_keys(keys)).problems)
    with zipfile.ZipFile(without, "a") as archive:
        archive.writestr("photos/" + "0" * 64, b"another")
    assert any(
        "nothing in the log speaks of it" in line for line in verify_bundle(without, read_public_keys(keys)).problems
    )


def test_a_bundle_of_another_centre_is_refused(exported: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, keys = exported
    boxes = read_public_keys(keys).boxes
    assert verify_bundle(bundle, PublicKeys([], boxes)).problems == ["the head is not signed by a known key of the log"]
    stranger = PublicKeys(read_public_keys(keys).log, dict.fromkeys(boxes, Signer.generate().public_key))
    assert any("signature" in line for line in verify_bundle(bundle, stranger).problems)
    (tmp_path / "none.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="is no brightline-bundle-1"):
        verify_bundle(tmp_path / "none.zip", read_public_keys(keys))
