"""A box key on disk: whole or not there, for its owner alone, never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from telemetry.signing import KeyFileError, PublicKey, Signer


def test_a_saved_key_signs_as_before_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    signer = Signer.generate()
    signer.save(tmp_path / "box.key")
    assert stat.S_IMODE((tmp_path / "box.key").stat().st_mode) == 0o600
    signature = Signer.load(tmp_path / "box.key").sign(b"data")
    assert PublicKey.from_b64(signer.public_key_b64).verify(signature, b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["box.key"]


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    Signer.generate().save(tmp_path / "box.key")
    before = (tmp_path / "box.key").read_bytes()
    with pytest.raises(FileExistsError):
        Signer.generate().save(tmp_path / "box.key")
    assert (tmp_path / "box.key").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["box.key"]


def test_a_power_cut_while_saving_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_: int) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(OSError, match="power cut"):
        Signer.generate().save(tmp_path / "box.key")
    assert not (tmp_path / "box.key").exists()


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [("", 0o600, "not an Ed25519 key"), ("xx", 0o600, "not an Ed25519 key"), ("", 0o644, "others may read")],
)
def test_a_bad_key_file_is_named_with_the_remedy(tmp_path: Path, content: str, mode: int, sentence: str) -> None:
    path = tmp_path / "box.key"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=sentence) as caught:
        Signer.load(path)
    assert str(path) in str(caught.value)
