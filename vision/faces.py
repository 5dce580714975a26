"""Hides faces in every picture that is shared: who it was is for the regulator alone, who gets the original sealed.

It errs on hiding: heads of any model of the camera down to the least confidence, the upper part of every person, and,
where a face detector (YuNet through OpenCV) is configured, what that finds too. A hidden place keeps four cells of
colour along its longer side: nothing that could be sharpened again (a light blur can: McPherson et al., 2016,
"Defeating Image Obfuscation with Deep Learning"). Whether anybody looked at all is said with the picture, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from vision.detections import Floats
from vision.frame import Image
from vision.manifest import ModelError
from vision.scene import Sighting

Faces = Literal["blurred", "none_found", "not_checked"]
CELLS_MAX = 4  # along the longer side of a hidden place
HEAD_WORDS = frozenset({"head", "face", "mask", "respirator", "goggles", "glasses", "beard", "人脸", "人头", "口罩"})
HAT_WORDS = frozenset({"hat", "cap", "helmet", "hood", "hairnet", "帽子", "厨师帽"})
PERSON_WORDS = frozenset(
    {"person", "people", "human", "man", "woman", "child", "pedestrian", "worker", "chef", "cook", "waiter", "staff",
     "intruder", "torso", "shirtless", "uniform", "apron", "smoker", "smoking", "人", "人员", "行人"}
)  # fmt: skip
HEAD_MARGIN = 0.25  # of a head's size, on each side
HAT_FACE_HEIGHTS = 1.5  # a face reaches so many heights of the hat below it
PERSON_MARGIN = 0.1  # of a person's height, above the box
UPRIGHT, HALF = 2.0, 1.0  # height over width: standing; sitting, bent or cut off; below it the head may be anywhere
UPRIGHT_SHARE, HALF_SHARE = 0.35, 0.6  # of a person's height that may hold the head
YUNET_SCORE_MIN = 0.3  # OpenCV's own default is 0.9
YUNET_SIDE_MAX_PX = 1280


@dataclass(frozen=True)
class SharedImage:
    """A picture that may leave the box, and what was done to it."""

    image: Image
    faces: Faces


def words_of(name: str) -> frozenset[str]:
    """The words of a class name: ``no_mask``, ``NoMask`` and ``no mask`` have the same."""
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return frozenset(re.split(r"[\W_]+", parts.lower()))


def tells_of_people(names: Iterable[str]) -> bool:
    """Whether one of the class *names* is a person's, or of something on a head."""
    return any(words_of(name) & (HEAD_WORDS | HAT_WORDS | PERSON_WORDS) for name in names)


def place_of_face(sighting: Sighting) -> Floats | None:
    """Where a face may be, by what was seen: left, top, right, bottom in pixels; None for things that have none."""
    words = words_of(sighting.name)
    left, top, right, bottom = (float(value) for value in sighting.xyxy)
    width, height = right - left, bottom - top
    if words & (HEAD_WORDS | HAT_WORDS):
        below = HAT_FACE_HEIGHTS * height if words & HAT_WORDS else HEAD_MARGIN * height
        across, above = HEAD_MARGIN * width, HEAD_MARGIN * height
        return np.array([left - across, top - above, right + across, bottom + below], np.float32)
    if words & PERSON_WORDS:
        ratio = height / max(width, 1.0)
        share = UPRIGHT_SHARE if ratio >= UPRIGHT else HALF_SHARE if ratio >= HALF else 1.0
        return np.array([left, top - PERSON_MARGIN * height, right, top + share * height], np.float32)
    return None


def pixelate(image: Image, places: Sequence[Floats]) -> Image:
    """A copy of *image* in which each of *places* (left, top, right, bottom) is a few cells of one colour.

    Of places that overlap the largest has the last word, and sees no more than the smaller ones left.
    """
    hidden = image.copy()
    height, width = image.shape[:2]
    for place in sorted(places, key=lambda place: float((place[2] - place[0]) * (place[3] - place[1]))):
        left, top = int(max(0, np.floor(place[0]))), int(max(0, np.floor(place[1])))
        right, bottom = int(min(width, np.ceil(place[2]))), int(min(height, np.ceil(place[3])))
        if right <= left or bottom <= top:
            continue
        part = hidden[top:bottom, left:right]
        scale = CELLS_MAX / max(part.shape[:2])
        cells = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
        small = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
        hidden[top:bottom, left:right] = cv2.resize(
            small, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
        )
    return hidden


class FaceDetector:
    """YuNet (Wu et al., 2023) by OpenCV, on the CPU."""

    def __init__(self, model: Path) -> None:
        """Raises ModelError."""
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_ERROR
        )  # errors; it warns at every picture of an engine that it falls back from
        try:
            data = model.read_bytes()
            self._yunet: Any = cv2.FaceDetectorYN.create(
                "onnx", np.frombuffer(data, np.uint8), np.empty(0, np.uint8), (320, 320), YUNET_SCORE_MIN
            )
        except (OSError, cv2.error) as error:
            raise ModelError(f"{model}: is no usable face detector ({error}); give a YuNet file in ONNX") from error

    def find(self, image: Image) -> list[Floats]:
        """Faces in a BGR picture, with a margin: left, top, right, bottom in pixels."""
        scale = min(1.0, YUNET_SIDE_MAX_PX / max(image.shape[:2]))
        small = image if scale == 1.0 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._yunet.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._yunet.detect(small)
        found = []
        for left, top, width, height in () if rows is None else rows[:, :4] / scale:
            box = np.array([left, top, left + width, top + height], np.float32)
            margin = HEAD_MARGIN * np.array([-width, -height, width, height], np.float32)
            found.append(box + margin)
        return found


class FaceHider:
    """Hides the faces of pictures of one camera. *checked*: whether one of its models sees people or heads."""

    def __init__(self, *, checked: bool, face_model: Path | None = None) -> None:
        """Raises ModelError."""
        self._detector = FaceDetector(face_model) if face_model is not None else None
        self._checked = checked or self._detector is not None

    def places(self, image: Image, sightings: Iterable[Sighting]) -> list[Floats]:
        """Where faces may be, by what the models saw and by the face detector."""
        places = [place for item in sightings if (place := place_of_face(item)) is not None]
        return places + (self._detector.find(image) if self._detector is not None else [])

    def verdict(self, *, found: bool) -> Faces:
        """What to say of pictures in which something was *found* (and hidden) or not."""
        if not self._checked:
            return "not_checked"
        return "blurred" if found else "none_found"

    def hide(self, image: Image, sightings: Iterable[Sighting]) -> SharedImage:
        """*image* as it may be shared."""
        places = self.places(image, sightings)
        return SharedImage(pixelate(image, places) if places else image, self.verdict(found=bool(places)))
