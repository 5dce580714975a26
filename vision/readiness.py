"""Whether a camera's models can do what it asks of them, known from their manifests and digests: nothing is loaded.

The same rules that refuse a camera at run time (`vision.crew`) are asked here with detectors that only have names. What
a manifest cannot say, whether onnxruntime runs the file, is still found out before the first picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision.crew import Crew
from vision.detections import Detections
from vision.frame import Image
from vision.manifest import ModelManifest
from vision.watch_settings import ModelUse, WatchSettings


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
    Crew(settings, [_promised(use) for use in settings.models])


def _promised(use: ModelUse) -> _Promised:
    manifest = ModelManifest.load(use.path)
    manifest.checked_bytes(use.path)
    return _Promised(manifest.names, manifest.sha256)
