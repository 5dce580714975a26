"""Runs ONNX models on the CPU: pictures in, boxes in the picture's own pixels out.

A model is used only with its manifest (`vision.manifest`); what goes in and what comes out is in `vision.heads`.
Sessions come from a `vision.model_shelf`. A model exported with a fixed batch gets that many pictures at a time (the
rest of the batch is empty), one with a free batch as many as there are. One with a free height and width gets the
smallest input around each picture, one of fixed shape always that, square or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vision.detections import Detections, Floats
from vision.frame import Image
from vision.heads import Placed, Shape, corner_box, decode, decode_yolox, letterbox
from vision.manifest import ModelError, ModelManifest
from vision.model_shelf import ModelShelf

BATCH_MAX = 8  # pictures in one run of a model with a free batch: a bound on the memory
STRIDE = 32  # what the sides of an input are multiples of, where the ONNX does not say it
STRIP_PX = 4096  # long and one wide: the narrowest input that a picture can lead to
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
        self._confidence = confidence
        refused = (
            refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph, refusals.InvalidProtobuf,
            refusals.NotImplemented, refusals.RuntimeException,
        )  # fmt: skip
        data = self.manifest.checked_bytes(model)
        try:
            self.session = (shelf or ModelShelf()).session(self.sha256, data)
            self.input_name = self.session.get_inputs()[0].name
            self._batch, self._shape, free = _axes(self.session.get_inputs()[0].shape, self.manifest.input_px)
            self._stride = 0
            # A model that does not fit fails now, not live.
            self.detect(np.zeros((*self._shape, 3), np.uint8))
        except refused as error:
            raise ModelError(f"{model}: onnxruntime cannot run it ({error}); export it again as ONNX") from error
        if free and self.manifest.head != "yolox":
            self._stride = _stride_of(self.session)
            try:
                self.detect_many([np.zeros((1, STRIP_PX, 3), np.uint8), np.zeros((STRIP_PX, 1, 3), np.uint8)])
            except refused:
                self._stride = 0  # its axes are free in name only: it takes what it took above

    def tensor_of(self, image: Image) -> Floats:
        """What the model gets for *image* alone: (N, 3, height, width), N its batch."""
        return self._filled([self._place(image)])

    def detect(self, image: Image) -> Detections:
        """Objects in one (height, width, 3) BGR picture."""
        return self.detect_many([image])[0]

    def detect_many(self, images: Sequence[Image]) -> list[Detections]:
        """Objects in each of several pictures, in as few runs of the model as its batch and their shapes allow."""
        placed = [self._place(image) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, (tensor, _, _) in enumerate(placed):
            by_shape.setdefault(tensor.shape, []).append(number)
        found: dict[int, Detections] = {}
        at_once = self._batch or BATCH_MAX
        for numbers in by_shape.values():
            for start in range(0, len(numbers), at_once):
                part = numbers[start : start + at_once]
                rows = self._run(self._filled([placed[number] for number in part]))
                for number, row in zip(part, rows, strict=False):  # the rest of a fixed batch is empty
                    found[number] = self._boxes(row, images[number], placed[number])
        return [found[number] for number in range(len(images))]

    def _place(self, image: Image) -> Placed:
        if self.manifest.head == "yolox":
            return corner_box(image, self._shape)
        return letterbox(image, self._shape, self._stride)

    def _filled(self, placed: Sequence[Placed]) -> Floats:
        """One input of *placed*, all of one shape; the rest of a fixed batch is zeros."""
        tensors = [tensor for tensor, _, _ in placed]
        if self._batch is not None and len(tensors) < self._batch:
            tensors.append(np.zeros((self._batch - len(tensors), *tensors[0].shape[1:]), np.float32))
        return tensors[0] if len(tensors) == 1 else np.concatenate(tensors)

    def _run(self, tensor: Floats) -> Floats:
        output = np.asarray(self.session.run(None, {self.input_name: tensor})[0])
        if len(output) != len(tensor):
            raise ModelError(f"the model's output has shape {output.shape}; expected one row for each of its pictures")
        return output

    def _boxes(self, output: Floats, image: Image, placed: Placed) -> Detections:
        """What *output* says of *image*, in its pixels."""
        _, scale, pad = placed
        boxes = self._decode(output)
        xyxy = (boxes.xyxy - np.array([*pad, *pad], np.float32)) / np.array([*scale, *scale], np.float32)
        limit = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        return Detections.of(np.clip(xyxy, 0, limit), boxes.confidence, boxes.class_id)

    def _decode(self, output: Floats) -> Detections:
        manifest = self.manifest
        if manifest.head == "yolox":
            return decode_yolox(output, len(self.names), self._shape, self._confidence, per_class=manifest.per_class)
        return decode(output, len(self.names), self._confidence, per_class=manifest.per_class)


def _axes(axes: Sequence[int | str | None], side: int) -> tuple[int | None, Shape, bool]:
    """Of an input: its batch (None: free), its height and width (*side* where free), and whether both of these are.

    Raises ModelError for an input that is no picture whose longer side is *side*.
    """
    if len(axes) != 4:
        raise ModelError(f"the model's input has shape {list(axes)}; expected (N, 3, height, width)")
    batch, _, height, width = (axis if isinstance(axis, int) else None for axis in axes)
    shape = height or side, width or side
    if max(shape) != side:
        raise ModelError(
            f"the model's input is {shape[0]} high and {shape[1]} wide, but its manifest's input_px {side}"
        )
    return batch, shape, height is None and width is None


def _stride_of(session: Any) -> int:
    """What the sides of an input are multiples of, as ultralytics' export says it."""
    said = session.get_modelmeta().custom_metadata_map.get("stride", "")
    return int(said) if said.isdecimal() and int(said) > 0 else STRIDE
