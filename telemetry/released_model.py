"""What a centre may send out to boxes as a model: ONNX bytes, and the manifest that names their digest and classes.

Neither end runs anything to look at them: bytes and digest have to fit, and the manifest the shape that
`vision.manifest` asks for (a test holds the two against each other). Whether onnxruntime takes the model, a box finds
out before it keeps it. The signed command names the manifest's digest, and the manifest the model's.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from telemetry.releases import ReleaseError

MODEL_BYTES_MAX = 15_000_000
MANIFEST_BYTES_MAX = 64 * 1024
PIECE_BYTES_MAX = 512 * 1024  # what is fetched at once: a slow line brings it within a time-out
CLASSES_MAX = 1_000
FLOOR_CONFIDENCE = 0.15  # vision.manifest's
SLOT = "mask"  # of the packaged model
Mode = Literal["shadow", "live"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ClassName = Annotated[str, Field(min_length=1, max_length=64)]


class Manifest(BaseModel):
    """The keys that count of `vision.manifest.ModelManifest`; others are kept and not looked at."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    sha256: Digest
    input_px: Annotated[int, Field(ge=32, le=2048)]
    names: Annotated[dict[int, ClassName], Field(min_length=1, max_length=CLASSES_MAX)]
    licence: Annotated[str, Field(max_length=200, pattern=r"\S")]
    head: Literal["yolo", "end_to_end", "yolox"] | None = None
    thresholds: dict[str, Annotated[float, Field(ge=FLOOR_CONFIDENCE, lt=1)]] = {}
    close_look: StrictBool = False
    per_class: StrictBool = False

    @model_validator(mode="after")
    def _fits_its_classes(self) -> Manifest:
        if sorted(self.names) != list(range(len(self.names))):
            raise ValueError("names: the class numbers are 0, 1, 2 ... without a hole")
        if strange := sorted(self.thresholds.keys() - set(self.names.values())):
            raise ValueError(f"thresholds: {', '.join(strange)[:200]} is no class")
        return self


def read_manifest(raw: bytes) -> Manifest:
    """The manifest in *raw*; raises ReleaseError."""
    if len(raw) > MANIFEST_BYTES_MAX:
        raise ReleaseError(f"the manifest has more than {MANIFEST_BYTES_MAX} bytes")
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "manifest"
        raise ReleaseError(f"the manifest: {place[:100]}: {first['msg'][:300]}") from error


def check_model(manifest: Manifest, model: bytes) -> None:
    """Raises ReleaseError unless these are the bytes that the manifest speaks of."""
    if not 0 < len(model) <= MODEL_BYTES_MAX:
        raise ReleaseError(f"the model has {len(model)} bytes; at most {MODEL_BYTES_MAX}, and more than none")
    digest = hashlib.sha256(model).hexdigest()
    if digest != manifest.sha256:
        raise ReleaseError(f"the model's SHA-256 is {digest}, the manifest says {manifest.sha256}")
