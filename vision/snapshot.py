"""The pictures that go with a violation: the picture itself, and with the finding drawn in."""

from __future__ import annotations

import cv2
import numpy as np

from vision.detections import Floats
from vision.frame import Frame, Image

JPEG_QUALITY = 88
RED, WHITE, BLACK = (48, 48, 220), (255, 255, 255), (0, 0, 0)


def raw_jpeg(frame: Frame) -> bytes:
    """The picture itself as JPEG."""
    return _jpeg(frame.image)


def annotated_jpeg(frame: Frame, box: Floats | None, kind: str, confidence: float, camera_id: str) -> bytes:
    """The picture with the violation's box (None: all of it), its code and a strip with camera and time (UTC)."""
    image = frame.image.copy()
    if box is None:
        box = np.array([1, 1, image.shape[1] - 2, image.shape[0] - 2], np.float32)
    left, top, right, bottom = (round(float(value)) for value in box)
    cv2.rectangle(image, (left, top), (right, bottom), RED, 2, cv2.LINE_AA)
    _label(image, f"{kind} {confidence:.0%}", (left, max(top - 6, 16)), RED)
    stamp = f"{camera_id}  {frame.captured_at:%Y-%m-%d %H:%M:%S}Z"
    _label(image, stamp, (6, image.shape[0] - 8), BLACK)
    return _jpeg(image)


def share_of_picture(box: Floats, width: int, height: int) -> tuple[float, float, float, float]:
    """*box* (left, top, right, bottom in pixels) in shares of the picture's width and height, 0 to 1."""
    left, top, right, bottom = (float(value) for value in np.clip(box / [width, height, width, height], 0, 1))
    return round(left, 4), round(top, 4), round(right, 4), round(bottom, 4)


def _label(image: Image, text: str, place: tuple[int, int], ground: tuple[int, int, int]) -> None:
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    x, y = place
    cv2.rectangle(image, (x - 2, y - height - 3), (x + width + 3, y + base), ground, -1)
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)


def _jpeg(image: Image) -> bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError("the picture could not be encoded as JPEG")
    return np.asarray(data).tobytes()
