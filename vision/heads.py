"""From a model's picture to its input, and from its output to boxes: pure functions, one pair per family of models.

YOLO: ultralytics' letterbox (grey 114, centred, its rounding of the padding), RGB in 0-1; heads (4+classes, N) and
end-to-end (N, 6); suppression is what ultralytics calls ``agnostic_nms=True, iou=0.5``, or per class. A model that
takes any shape gets the smallest one around the picture, as ultralytics' ``rect=True``: grey costs as much as picture.
YOLOX (Ge et al., 2021, Megvii's export without decoding): grey 114 below and to the right, BGR in 0-255; rows of
(x, y, width, height, objectness, classes) on grids of 8, 16 and 32 pixels, sizes as logarithms.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from vision.detections import Detections, Floats, iou_matrix
from vision.frame import Image
from vision.manifest import ModelError

PADDING = 114
IOU_MAX = 0.5
CANDIDATES_MAX = 1000  # boxes that enter the suppression, and ...
DETECTIONS_MAX = 300  # ... that leave it, as in ultralytics: bounds on the work, whatever the picture
YOLOX_STRIDES = (8, 16, 32)
Shape = tuple[int, int]  # of an input: height, width
Placed = tuple[Floats, tuple[float, float], tuple[int, int]]


def letterbox(image: Image, shape: Shape, stride: int = 0) -> Placed:
    """(1, 3, height, width) RGB in 0–1, the scale (across, along), and the padding (left, top) in pixels.

    *shape* is that of the input; with a *stride*, as much of it is left out as is padding and a multiple of that.
    The scale is that of the rounded size, each side for itself, as ultralytics scales its boxes back: with the one that
    was asked for, boxes at the far edge would lie up to half a pixel of the input beside theirs.
    """
    height, width = image.shape[:2]
    scale = min(shape[0] / height, shape[1] / width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    across, along = shape[1] - new_width, shape[0] - new_height
    if stride:
        across, along = across % stride, along % stride
    left, top = round(across / 2 - 0.1), round(along / 2 - 0.1)
    shape = new_height + along, new_width + across
    canvas = _canvas(image, shape, (new_width, new_height), (left, top))
    tensor = np.empty((1, 3, *shape), np.float32)
    for channel in range(3):
        np.multiply(canvas[..., 2 - channel], np.float32(1 / 255), out=tensor[0, channel])
    return tensor, (new_width / width, new_height / height), (left, top)


def corner_box(image: Image, shape: Shape) -> Placed:
    """(1, 3, *shape) BGR in 0–255, the scale (one for both), and no padding to the left and above: YOLOX's way."""
    height, width = image.shape[:2]
    scale = min(shape[0] / height, shape[1] / width)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    canvas = _canvas(image, shape, size, (0, 0))
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32), (scale, scale), (0, 0)


def _canvas(image: Image, shape: Shape, size: tuple[int, int], place: tuple[int, int]) -> Image:
    canvas = np.full((*shape, 3), PADDING, np.uint8)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    canvas[place[1] : place[1] + size[1], place[0] : place[0] + size[0]] = resized
    return canvas


def decode(output: Floats, classes: int, confidence: float, *, per_class: bool = False) -> Detections:
    """Boxes of one picture, in pixels of the model's input, after suppression; see `suppress`.

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
    best = output[4:].max(axis=0)
    keep = _candidates(best, confidence)
    return _suppressed(output[:4, keep].T, best[keep], output[4:, keep].argmax(axis=0), per_class)


def decode_yolox(
    output: Floats, classes: int, shape: Shape, confidence: float, *, per_class: bool = True
) -> Detections:
    """Boxes of one picture, in pixels of an input of *shape*, from YOLOX's (N, 5+classes); others are a ModelError."""
    grid, stride = _yolox_grid(shape)
    if output.shape != (len(grid), 5 + classes):
        raise ModelError(f"the model's output has shape {output.shape}; expected ({len(grid)}, {5 + classes}) of YOLOX")
    best = output[:, 5:].max(axis=1) * output[:, 4]
    keep = _candidates(best, confidence)
    rows = output[keep]
    centre = (rows[:, :2] + grid[keep]) * stride[keep]
    size = np.exp(np.minimum(rows[:, 2:4], 12.0)) * stride[keep]  # e^12 cells are more than any picture
    return _suppressed(np.concatenate([centre, size], axis=1), best[keep], rows[:, 5:].argmax(axis=1), per_class)


@cache
def _yolox_grid(shape: Shape) -> tuple[Floats, Floats]:
    cells, strides = [], []
    for stride in YOLOX_STRIDES:
        rows, columns = shape[0] // stride, shape[1] // stride
        across, along = np.meshgrid(np.arange(columns), np.arange(rows))
        cells.append(np.stack([across, along], axis=2).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _candidates(best: Floats, confidence: float) -> np.ndarray:
    keep = np.flatnonzero(best >= confidence)
    return keep[np.argsort(-best[keep], kind="stable")[:CANDIDATES_MAX]]


def _suppressed(centre_size: Floats, best: Floats, class_id: np.ndarray, per_class: bool) -> Detections:
    half = centre_size[:, 2:] / 2
    xyxy = np.concatenate([centre_size[:, :2] - half, centre_size[:, :2] + half], axis=1)
    return suppress(Detections.of(xyxy, best, class_id), IOU_MAX, per_class=per_class)


def suppress(found: Detections, iou_max: float, *, per_class: bool = False) -> Detections:
    """Greedy non-maximum suppression: across classes (one head wears a mask or not, never both) or *per_class*."""
    if len(found) < 2:
        return found
    order = np.argsort(-found.confidence, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < DETECTIONS_MAX:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        apart = iou_matrix(found.xyxy[best : best + 1], found.xyxy[rest])[0] <= iou_max
        order = rest[apart | (found.class_id[rest] != found.class_id[best])] if per_class else rest[apart]
    return Detections.of(found.xyxy[kept], found.confidence[kept], found.class_id[kept])
