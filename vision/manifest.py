"""What has to be known about a model before it runs: the JSON beside it (``NAME.json``).

A model is used only when its bytes have the SHA-256 that its manifest states, and the very bytes that were checked are
the ones that run. The licence has to be named: weights travel with their obligations.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

MODEL_BYTES_MAX = 500_000_000
MANIFEST_BYTES_MAX = 100_000
INPUT_PX_MAX = 2048
FLOOR_CONFIDENCE = 0.15  # nothing below it is looked at
Head = Literal["yolo", "end_to_end", "yolox"]


class ModelError(Exception):
    """A model that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class ModelManifest:
    """Digest, square input side in pixels, class names, licence; see below for what may be left out.

    ``head``: ``yolo`` (YOLOv8/11), ``end_to_end`` (N, 6), ``yolox``; left out, the first two are told apart by shape.
    ``thresholds``: the confidence at which the model's makers, or the evaluation, say that a class is meant.
    ``close_look``: heads that are small are looked at again. ``per_class``: objects of two classes may lie on one
    another (person and bag); without it one place has one class (a head wears a mask or not).
    """

    sha256: str
    input_px: int
    names: dict[int, str]
    licence: str
    head: Head | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    close_look: bool = False
    per_class: bool = False

    def __post_init__(self) -> None:
        if not 32 <= self.input_px <= INPUT_PX_MAX:
            raise ValueError(f"input_px is {self.input_px}, not from 32 to {INPUT_PX_MAX}")
        if not self.names or sorted(self.names) != list(range(len(self.names))):
            raise ValueError(f"names has the class numbers {sorted(self.names)}, not 0, 1, 2 ... without a hole")
        if not self.licence.strip():
            raise ValueError("licence is empty")
        if self.head is not None and self.head not in get_args(Head):
            raise ValueError(f"head is {self.head}, none of {', '.join(get_args(Head))}")
        for name, value in self.thresholds.items():
            if name not in self.names.values() or not FLOOR_CONFIDENCE <= value < 1:
                raise ValueError(f"thresholds has {name}: {value}; it takes class names and {FLOOR_CONFIDENCE} to 1")

    @classmethod
    def load(cls, model: Path) -> ModelManifest:
        """Read and check the manifest beside *model*; raises ModelError."""
        path = model.with_suffix(".json")
        try:
            text = json.loads(_bounded(path, MANIFEST_BYTES_MAX))
            return cls(
                sha256=str(text["sha256"]),
                input_px=int(text["input_px"]),
                names={int(index): str(name) for index, name in text["names"].items()},
                licence=str(text["licence"]),
                head=text.get("head"),
                thresholds={str(name): float(value) for name, value in text.get("thresholds", {}).items()},
                close_look=text.get("close_look", False) is True,
                per_class=text.get("per_class", False) is True,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{path}: no usable manifest ({error!r}); write sha256, input_px, names and licence"
            ) from error

    def checked_bytes(self, model: Path) -> bytes:
        """The bytes of *model* once their digest is the manifest's; raises ModelError."""
        try:
            data = _bounded(model, MODEL_BYTES_MAX)
        except (OSError, ValueError) as error:
            raise ModelError(f"{model}: the model cannot be read ({error}); fetch it again") from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise ModelError(f"{model}: its SHA-256 is {digest}, the manifest says {self.sha256}; fetch it again")
        return data


def _bounded(path: Path, bytes_max: int) -> bytes:
    size_bytes = path.stat().st_size
    if size_bytes > bytes_max:
        raise ValueError(f"{size_bytes} bytes, at most {bytes_max}")
    return path.read_bytes()
