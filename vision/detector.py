"""Runs YOLO-format ONNX models on the CPU: pictures in, boxes in the picture's own pixels out.

A model is used only when its bytes have the SHA-256 that the manifest beside it (``NAME.json``) states, and the very
bytes that were checked are the ones that run. Pre-processing is ultralytics' letterbox (grey 114, centred, its rounding
of the padding) into a full square; heads understood are YOLOv8/11 (1, 4+classes, N) and end-to-end (1, N, 6).
Post-processing is what ultralytics calls ``agnostic_nms=True, iou=0.5``: one object has one class.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from vision.detections import Detections, Floats, iou_matrix
from vision.frame import Image

PADDING = 114
IOU_MAX = 0.5
CANDIDATES_MAX = 1000  # boxes that enter the suppression, and ...
DETECTIONS_MAX = 300  # ... that leave it, as in ultralytics: bounds on the work, whatever the picture
MODEL_BYTES_MAX = 500_000_000
MANIFEST_BYTES_MAX = 100_000
INPUT_PX_MAX = 2048
DEFAULT_MODEL = Path(__file__).with_name("models") / "mask_v1.onnx"


class ModelError(Exception):
    """A model that cannot be used; the message names the file and the remedy."""


class Detector(Protocol):
    """Port: finds objects of ``names`` (class id → name)."""

    names: dict[int, str]
    sha256: str

    def detect(self, image: Image) -> Detections: ...


class ScriptedDetector:
    """Gives the listed detections one after the other, the last one for ever (for tests)."""

    def __init__(self, names: dict[int, str], script: Sequence[Detections]) -> None:
        self.names = names
        self.sha256 = "0" * 64
        self._script = list(script)
        self._next = 0

    def detect(self, image: Image) -> Detections:
        del image
        found = self._script[min(self._next, len(self._script) - 1)]
        self._next += 1
        return found


@dataclass(frozen=True)
class ModelManifest:
    """What the JSON beside a model says: its digest, square input side in pixels and class names."""

    sha256: str
    input_px: int
    names: dict[int, str]

    def __post_init__(self) -> None:
        if not 32 <= self.input_px <= INPUT_PX_MAX:
            raise ValueError(f"input_px is {self.input_px}, not from 32 to {INPUT_PX_MAX}")
        if not self.names or sorted(self.names) != list(range(len(self.names))):
            raise ValueError(f"names has the class numbers {sorted(self.names)}, not 0, 1, 2 ... without a hole")

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
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: no usable manifest ({error!r}); write sha256, input_px and names") from error

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


class OnnxDetector:
    """See the module's docstring. *threads* are those of one inference; spinning is off."""

    def __init__(self, model: Path = DEFAULT_MODEL, *, confidence: float = 0.25, threads: int = 1) -> None:
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as refusals

        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}; it must be between 0 and 1")
        manifest = ModelManifest.load(model)
        self.names = manifest.names
        self.sha256 = manifest.sha256
        self._side = manifest.input_px
        self._confidence = confidence
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        data = manifest.checked_bytes(model)
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            self.detect(
                np.zeros((self._side, self._side, 3), np.uint8)
            )  # a model that does not fit fails now, not live
        except (
            refusals.Fail,
            refusals.InvalidArgument,
            refusals.InvalidGraph,
            refusals.InvalidProtobuf,
            refusals.NotImplemented,
            refusals.RuntimeException,
        ) as error:
            raise ModelError(f"{model}: onnxruntime cannot run it ({error}); export it again as ONNX") from error

    def detect(self, image: Image) -> Detections:
        """Objects in one (height, width, 3) BGR picture."""
        tensor, scale, pad = letterbox(image, self._side)
        output = np.asarray(self._session.run(None, {self._input: tensor})[0])
        found = decode(output[0], len(self.names), self._confidence)
        boxes = (found.xyxy - np.array([*pad, *pad], np.float32)) / scale
        limit = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        return Detections.of(np.clip(boxes, 0, limit), found.confidence, found.class_id)


def letterbox(image: Image, side: int) -> tuple[Floats, float, tuple[int, int]]:
    """(1, 3, side, side) RGB in 0–1, the scale, and the padding (left, top) in pixels."""
    height, width = image.shape[:2]
    scale = min(side / height, side / width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = round((side - new_width) / 2 - 0.1), round((side - new_height) / 2 - 0.1)
    canvas = np.full((side, side, 3), PADDING, np.uint8)
    resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    canvas[top : top + new_height, left : left + new_width] = resized
    tensor = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], np.float32)
    tensor /= 255.0
    return tensor, scale, (left, top)


def decode(output: Floats, classes: int, confidence: float) -> Detections:
    """Boxes of one picture, in pixels of the model's input, after suppression across classes; see `suppress`.

    *output* is (4+classes, N): centre, size and a score per class; or (N, 6): corners, score and class, which needs
    no suppression. Any other shape is a ModelError.
    """
    if output.ndim == 2 and output.shape[1] == 6 and output.shape[0] != 4 + classes:
        kept = output[output[:, 4] >= confidence][:DETECTIONS_MAX]
        if len(kept) and not 0 <= kept[:, 5].min() <= kept[:, 5].max() < classes:
            raise ModelError(f"the model gave a class number that is none of its {classes} names")
        return Detections.of(kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64))
    if output.ndim != 2 or output.shape[0] != 4 + classes:
        raise ModelError(f"the model's output has shape {output.shape}; expected ({4 + classes}, N) or (N, 6)")
    scores = output[4:]
    class_id = scores.argmax(axis=0)
    best = scores.max(axis=0)
    keep = np.flatnonzero(best >= confidence)
    keep = keep[np.argsort(-best[keep], kind="stable")[:CANDIDATES_MAX]]
    centre_size = output[:4, keep].T
    half = centre_size[:, 2:] / 2
    xyxy = np.concatenate([centre_size[:, :2] - half, centre_size[:, :2] + half], axis=1)
    return suppress(Detections.of(xyxy, best[keep], class_id[keep]), IOU_MAX)


def suppress(found: Detections, iou_max: float) -> Detections:
    """Greedy non-maximum suppression across classes: one head wears a mask or not, never both."""
    order = np.argsort(-found.confidence, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < DETECTIONS_MAX:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        order = rest[iou_matrix(found.xyxy[best : best + 1], found.xyxy[rest])[0] <= iou_max]
    return Detections.of(found.xyxy[kept], found.confidence[kept], found.class_id[kept])
