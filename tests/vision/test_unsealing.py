"""Sealed originals: any of the regulator's keys opens them, nobody else's does, and what comes out is the original."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage.x25519 import Identity

from edge.evidence_sealing import seal_to
from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceManifest, seal_evidence
from telemetry.signing import Signer
from vision.cli import main
from vision.evidence_file import open_file, read_key
from vision.unsealing import make_key

SIGNER = Signer.generate()
ORIGINAL = b"\xff\xd8 the face of somebody \xff\xd9"


def sealed(recipients: tuple[str, ...], *, original: bytes = ORIGINAL, role: str = "sealed") -> bytes:
    blob = seal_to(original, recipients)
    manifest = EvidenceManifest.model_validate(
        {"evidence_id": "ev-1", "sha256": sha256_hex(blob), "size_bytes": len(blob), "role": role,
         "media_type": "application/age-encryption", "incident_id": "i-1", "box_id": "box-1", "camera_id": "cam-1",
         "place": "备餐间", "taken_at": datetime(2026, 1, 2, tzinfo=UTC), "kind": "no_mask", "model_sha256": "a" * 64,
         "config_sha256": "b" * 64, "original_sha256": sha256_hex(ORIGINAL), "original_role": "original",
         "sealed_to": recipients}
    )  # fmt: skip
    return seal_evidence(manifest, blob, SIGNER)


SEALED = sealed((str(Identity.generate().to_public()),))


def unseal(folder: Path, key: str, *more: str) -> int:
    return main(["unseal", str(folder / "a.ble"), "--key", str(folder / key), "--out", str(folder / "out"), *more])


def opened(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in (folder / "out").glob("*")]


def test_each_of_several_keys_opens_it_and_the_signature_is_checked_when_the_box_s_key_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keygen", "--out", str(tmp_path / "new.key")]) == 0
    public = capsys.readouterr().out.strip()
    (tmp_path / "a.ble").write_bytes(sealed((make_key(tmp_path / "old.key"), public)))
    for key in ("old.key", "new.key"):
        assert unseal(tmp_path, key, "--public-key", SIGNER.public_key_b64, "--json") == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["signature"], report["incident_id"]) == ("genuine", "i-1")
        assert Path(report["original"]).read_bytes() == ORIGINAL
        assert Path(report["original"]).name == sha256_hex(ORIGINAL) + ".jpg"
    assert unseal(tmp_path, "old.key") == 0
    assert "signature of box box-1: not checked" in capsys.readouterr().out


def test_the_private_key_is_for_its_owner_alone_and_is_never_replaced(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert main(["keygen", "--out", str(tmp_path / "key")]) == 1
    assert (tmp_path / "key").read_bytes() == before


def test_another_key_does_not_open_it_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ble").write_bytes(sealed((make_key(tmp_path / "key"),)))
    make_key(tmp_path / "other.key")
    assert unseal(tmp_path, "other.key") == 2
    assert "this key does not open it; it was sealed to age1" in capsys.readouterr().err
    assert opened(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"original": b"another picture"}, "is not the original that its manifest names"),
        ({"role": "snapshot"}, "is evidence, but not sealed"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, bytes], said: str
) -> None:
    (tmp_path / "a.ble").write_bytes(sealed((make_key(tmp_path / "key"),), **change))  # type: ignore[arg-type]
    assert unseal(tmp_path, "key", "--public-key", SIGNER.public_key_b64) == 2
    assert said in capsys.readouterr().err
    assert opened(tmp_path) == []


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_flipped_byte_of_a_sealed_file_is_found(position: int, change: int) -> None:
    altered = bytearray(SEALED)
    altered[position] ^= change
    with pytest.raises(ValueError):
        open_file(bytes(altered), read_key(SIGNER.public_key_b64))


@pytest.mark.parametrize("text", ["", "AGE-SECRET-KEY-1", "a\nb\n", "x" * 5000, "é"])
def test_a_key_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "a.ble").write_bytes(SEALED)
    (tmp_path / "key").write_text(text, "utf-8")
    (tmp_path / "key").chmod(0o600)
    assert unseal(tmp_path, "key") == 2
    assert "is no age key" in capsys.readouterr().err


def test_a_key_that_others_may_read_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ble").write_bytes(sealed((make_key(tmp_path / "key"),)))
    (tmp_path / "key").chmod(0o640)
    assert unseal(tmp_path, "key") == 2
    assert "chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize("recipients", [(), ("age1nonsense",)])
def test_nothing_is_sealed_to_nobody(recipients: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"nobody|no age public key"):
        seal_to(ORIGINAL, recipients)
