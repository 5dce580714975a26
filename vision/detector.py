"""Runs ONNX models on the CPU: pictures in, boxes in the picture's own pixels out.

A model is used only with its manifest (`vision.manifest`); what goes in and what comes out is in `vision.heads`.
Sessions come from a `vision.model_shelf`. A model exported with a fixed batch gets that many pictures at a time (the
rest of the batch is empty), one with a free batch as many as there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vision.detections import Detections, Floats
from vision.frame import Image
from vision.heads import corner_box, decode, decode_yolox, letterbox
from vision.manifest import ModelError, ModelManifest
from vision.model_shelf import ModelShelf

BATCH_MAX = 8  # pictures in one run of a model with a free batch: a bound on the memory
DEFAULT_MODEL = Path(__file__).with_name("models") / "mask_v1.onnx"


class Detector(Protocol):
    """Port: finds objects of ``names`` (class id → name)."""

    names: dict[int, str]
    sha256: str

    def detect(self, image: Image) -> Detections: ...

    def detect_many(self, images: Sequence[Image]) -> list[Detections]: ...


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

    def detect_many(self, images: Sequence[Image]) -> list[Detections]:
        return [self.detect(image) for image in images]


class OnnxDetector:
    """See the module's docstring; without a *shelf* the model has its own session with one thread."""

    def __init__(
        self, model: Path = DEFAULT_MODEL, *, confidence: float = 0.25, shelf: ModelShelf | None = None
    ) -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as refusals

        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}; it must be between 0 and 1")
        self.manifest = ModelManifest.load(model)
        self.names = self.manifest.names
        self.sha256 = self.manifest.sha256
        self._side = self.manifest.input_px
        self._confidence = confidence
        self._place = corner_box if self.manifest.head == "yolox" else letterbox
        data = self.manifest.checked_bytes(model)
        try:
            self.session = (shelf or ModelShelf()).session(self.sha256, data)
            self.input_name = self.session.get_inputs()[0].name
            batch = self.session.get_inputs()[0].shape[0]
            self._batch = batch if isinstance(batch, int) else None  # None: free
            # A model that does not fit fails now, not live.
            self.detect(np.zeros((self._side, self._side, 3), np.uint8))
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
        return self.detect_many([image])[0]

    def detect_many(self, images: Sequence[Image]) -> list[Detections]:
        """Objects in each of several pictures, in as few runs of the model as its batch allows."""
        found: list[Detections] = []
        at_once = self._batch or BATCH_MAX
        for start in range(0, len(images), at_once):
            found += self._run(images[start : start + at_once])
        return found

    def _run(self, images: Sequence[Image]) -> list[Detections]:
        placed = [self._place(image, self._side) for image in images]
        tensor = placed[0][0] if len(placed) == 1 else np.concatenate([item[0] for item in placed])
        if self._batch is not None and len(images) < self._batch:
            empty = np.zeros((self._batch - len(images), *tensor.shape[1:]), np.float32)
            tensor = np.concatenate([tensor, empty])
        output = np.asarray(self.session.run(None, {self.input_name: tensor})[0])
        if len(output) != len(tensor):
            raise ModelError(f"the model's output has shape {output.shape}; expected one row for each of its pictures")
        found = []
        for index, (image, (_, scale, pad)) in enumerate(zip(images, placed, strict=True)):
            boxes = self._decode(output[index])
            xyxy = (boxes.xyxy - np.array([*pad, *pad], np.float32)) / np.array([*scale, *scale], np.float32)
            limit = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
            found.append(Detections.of(np.clip(xyxy, 0, limit), boxes.confidence, boxes.class_id))
        return found

    def _decode(self, output: Floats) -> Detections:
        manifest = self.manifest
        if manifest.head == "yolox":
            return decode_yolox(output, len(self.names), self._side, self._confidence, per_class=manifest.per_class)
        return decode(output, len(self.names), self._confidence, per_class=manifest.per_class)
