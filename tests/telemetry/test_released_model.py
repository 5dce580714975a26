"""What both ends take as a model's manifest, the camera process can use: the two are read independently."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from telemetry.released_model import MODEL_BYTES_MAX, check_model, read_manifest
from telemetry.releases import ReleaseError
from vision.detector import DEFAULT_MODEL
from vision.manifest import ModelError, ModelManifest

GOOD: dict[str, Any] = {"sha256": "a" * 64, "input_px": 320, "names": {"0": "mask", "1": "no_mask"}, "licence": "MIT"}


def in_vision(folder: Path, raw: bytes) -> ModelManifest:
    (folder / "m.json").write_bytes(raw)
    return ModelManifest.load(folder / "m.onnx")


def test_packaged_model_could_be_released() -> None:
    manifest = read_manifest(DEFAULT_MODEL.with_suffix(".json").read_bytes())
    check_model(manifest, DEFAULT_MODEL.read_bytes())


@pytest.mark.parametrize(
    "more",
    [
        {}, {"head": "yolox"}, {"thresholds": {"mask": 0.15}}, {"close_look": True, "per_class": True}, {"card": [1]},
        {"input_px": 32}, {"input_px": 2048}, {"head": None},
    ],
)  # fmt: skip
def test_manifest_that_is_taken_means_the_same_to_the_camera_process(tmp_path: Path, more: dict[str, Any]) -> None:
    raw = json.dumps({**GOOD, **more}).encode()
    ours, theirs = read_manifest(raw), in_vision(tmp_path, raw)
    for name in ("sha256", "input_px", "names", "licence", "head", "thresholds", "close_look", "per_class"):
        assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize(
    "less",
    [
        {"input_px": 31}, {"input_px": 2049}, {"names": {"1": "mask"}}, {"names": {}}, {"licence": ""},
        {"head": "ssd"}, {"thresholds": {"hat": 0.5}}, {"thresholds": {"mask": 0.14}}, {"thresholds": {"mask": 1}},
    ],
)  # fmt: skip
def test_manifest_that_the_camera_process_refuses_is_not_taken(tmp_path: Path, less: dict[str, Any]) -> None:
    raw = json.dumps({**GOOD, **less}).encode()
    with pytest.raises(ReleaseError):
        read_manifest(raw)
    with pytest.raises(ModelError):
        in_vision(tmp_path, raw)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 9_000, b"{}" + b" " * 64 * 1024])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(ReleaseError):
        read_manifest(raw)


@pytest.mark.parametrize("model", [b"", b"other", b"x" * (MODEL_BYTES_MAX + 1)])
def test_model_of_another_size_or_digest_is_refused(model: bytes) -> None:
    digest = hashlib.sha256(b"model").hexdigest()
    manifest = read_manifest(json.dumps({**GOOD, "sha256": digest}).encode())
    check_model(manifest, b"model")
    with pytest.raises(ReleaseError):
        check_model(manifest, model)
