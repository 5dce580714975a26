"""`verify`: an independent reading of what the box writes; whatever is altered is found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceManifest, open_evidence, seal_evidence
from telemetry.signing import Signer
from vision.cli import main
from vision.evidence_file import open_file, read_key

SIGNER = Signer.generate()
KEY = read_key(SIGNER.public_key_b64)


def sealed(blob: bytes, previous: str | None = None) -> bytes:
    manifest = EvidenceManifest(
        evidence_id="ev-1", sha256=sha256_hex(blob), size_bytes=len(blob), media_type="image/jpeg", role="annotated",
        incident_id="i-1", box_id="box-1", camera_id="cam-1", place="备餐间", taken_at=datetime(2026, 1, 2, tzinfo=UTC),
        kind="no_mask", model_sha256="a" * 64, config_sha256="b" * 64, zone="line", previous_sha256=previous,
    )  # fmt: skip
    return seal_evidence(manifest, blob, SIGNER)


SEALED = sealed(b"\xff\xd8 a picture \xff\xd9")


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_flipped_byte_is_found(position: int, change: int) -> None:
    altered = bytearray(SEALED)
    altered[position] ^= change
    with pytest.raises(ValueError):
        open_file(bytes(altered), KEY)


@given(st.integers(0, len(SEALED) - 1))
def test_any_cut_is_found(length: int) -> None:
    with pytest.raises(ValueError):
        open_file(SEALED[:length], KEY)


def test_another_box_s_key_does_not_open_it() -> None:
    with pytest.raises(ValueError, match="was not signed by this box"):
        open_file(SEALED, read_key(Signer.generate().public_key_b64))


def digest(data: bytes) -> str:
    return sha256_hex(open_evidence(data, lambda _: SIGNER.public_key).signed)


def test_verify_says_what_files_show_and_which_one_before_them_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sealed(b"one")
    second = sealed(b"two", digest(first))
    third = sealed(b"three", digest(second))
    for name, data in {"1": first, "2": second, "3": third}.items():
        (tmp_path / f"{name}.ble").write_bytes(data)
    (tmp_path / "key").write_text(SIGNER.public_key_b64 + "\n")
    files = [str(tmp_path / name) for name in ("1.ble", "3.ble")]
    assert main(["verify", *files, "--public-key", str(tmp_path / "key"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["genuine"], report["missing"]) == (True, [digest(second)])
    assert report["files"][0]["shows"]["place"] == "备餐间"
    assert report["files"][0]["shows"]["zone"] == "line"
    assert main(["verify", *files, str(tmp_path / "2.ble"), "--public-key", SIGNER.public_key_b64, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == []


def test_verify_fails_when_one_file_of_many_is_altered_or_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.ble").write_bytes(SEALED)
    (tmp_path / "bad.ble").write_bytes(SEALED[:-1] + b"!")
    files = [str(tmp_path / f"{name}.ble") for name in ("good", "bad", "gone")]
    assert main(["verify", *files, "--public-key", SIGNER.public_key_b64]) == 1
    good, bad, gone, _ = capsys.readouterr().out.splitlines()
    assert good.endswith("good.ble: genuine")
    assert bad.endswith("its picture is not the one that its manifest describes")
    assert gone.endswith("cannot be read: No such file or directory")


@pytest.mark.parametrize("key", ["", "abc", "AAAA", "missing.key"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str) -> None:
    (tmp_path / "a.ble").write_bytes(SEALED)
    assert main(["verify", str(tmp_path / "a.ble"), "--public-key", key]) == 2
    assert "neither 32 bytes in base64 nor a file" in capsys.readouterr().err
