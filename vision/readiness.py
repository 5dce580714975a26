"""Whether a camera's models can do what it asks of them, known from their manifests and digests: nothing is loaded.

The same rules that refuse a camera at run time (`vision.crew`) are asked here with detectors that only have names. What
a manifest cannot say, whether onnxruntime runs the file, is still found out before the first picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vision.crew import Crew
from vision.detections import Detections
from vision.frame import Image
from vision.manifest import ModelManifest
from vision.shadow import check_pair
from vision.watch_settings import WatchSettings


@dataclass
class _Promised:
    """What a manifest says of a detector; it cannot look."""

    names: dict[int, str]
    sha256: str

    def detect(self, image: Image) -> Detections:
        raise NotImplementedError("only the manifest of this model was read")

    def detect_many(self, images: Sequence[Image]) -> list[Detections]:
        raise NotImplementedError("only the manifest of this model was read")


def check_models(settings: WatchSettings) -> None:
    """Raises ModelError or ValueError with what is wrong and what to do."""
    promised = [_promised(use.path) for use in settings.models]
    Crew(settings, promised)
    for use, live in zip(settings.models, promised, strict=True):
        if use.shadow is not None:
            check_pair(use, live, _promised(use.shadow.path))


def _promised(path: Path) -> _Promised:
    manifest = ModelManifest.load(path)
    manifest.checked_bytes(path)
    return _Promised(manifest.names, manifest.sha256)
