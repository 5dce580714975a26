"""Labelled pictures in YOLO's folder layout, for measuring a detector.

A ``data.yaml`` names the splits (``train``, ``val``, ``test``: a folder, a list of folders, or a .txt list of pictures,
relative to ``path``, itself relative to the file) and the classes; labels stand in ``labels/`` beside ``images/``, one
``class centre_x centre_y width height`` a line in shares of the picture, or ``class`` and the corners of a polygon: its
box counts. A picture without a label file has no boxes, and the same line twice is one box.
Formats: https://docs.ultralytics.com/datasets/detect/ and .../segment/; with ``kpt_shape`` .../pose/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from vision.detections import Detections
from vision.frame import Image

YAML_BYTES_MAX = 1_000_000
PICTURE_BYTES_MAX = 50_000_000
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
SHARE_SLACK = 0.01  # how far outside the picture a label may be, as ultralytics has it; tools round


class DatasetError(ValueError):
    """A data set that cannot be used; the message names the file, the problem and the remedy."""


@dataclass(frozen=True)
class Dataset:
    """One split: its pictures in a fixed order and its class names. ``posed``: boxes are followed by key points."""

    names: dict[int, str]
    pictures: tuple[Path, ...]
    split: str
    posed: bool = False

    @classmethod
    def load(cls, path: Path, split: str | None = None) -> Dataset:
        """Read *path* (a data.yaml) and find the pictures of *split* (test, or else val); raises DatasetError."""
        try:
            if path.stat().st_size > YAML_BYTES_MAX:
                raise DatasetError(f"{path}: larger than {YAML_BYTES_MAX} bytes; that is no data.yaml")
            text = yaml.safe_load(path.read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise DatasetError(f"{path}: cannot be read as YAML ({error}); give a YOLO data.yaml") from error
        if not isinstance(text, dict) or not isinstance(text.get("names"), list | dict):
            raise DatasetError(f"{path}: names is missing; list the classes in the order of their numbers")
        split = split or ("val" if not text.get("test") and text.get("val") else "test")
        entry = text.get(split)
        if not entry:
            known = ", ".join(name for name in ("train", "val", "test") if text.get(name)) or "none"
            raise DatasetError(f"{path}: it has no split {split!r}; it has {known}; choose one with --split")
        roots = [path.parent / str(text.get("path") or ""), path.parent]
        places = entry if isinstance(entry, list) else [entry]
        pictures = tuple(found for place in places for found in _pictures(path, _place(roots, str(place))))
        if not pictures:
            raise DatasetError(f"{path}: split {split!r} has no pictures in {', '.join(map(str, places))}")
        return cls(_names(path, text["names"]), pictures, split, posed="kpt_shape" in text)

    def samples(self) -> Iterator[tuple[Image, Detections]]:
        """Each picture (BGR) with its true boxes in pixels, confidence 1; raises DatasetError."""
        for path in self.pictures:
            image = read_picture(path)
            yield image, self._truth(label_file(path), image.shape[1], image.shape[0])

    def _truth(self, path: Path, width: int, height: int) -> Detections:
        lines = [_label(path, number, line, self.posed) for number, line in _lines(path)]
        rows = list(dict.fromkeys(lines))
        unknown = sorted({class_id for class_id, *_ in rows} - set(self.names))
        if unknown:
            raise DatasetError(f"{path}: class numbers {unknown} have no name in the data.yaml; name or remove them")
        boxes = np.array([row[1:] for row in rows], np.float32).reshape(-1, 4)
        half = boxes[:, 2:] / 2
        corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
        corners = np.clip(corners, 0, 1) * np.array([width, height] * 2, np.float32)
        return Detections.of(corners, np.ones(len(rows)), [row[0] for row in rows])


def read_picture(path: Path) -> Image:
    """The picture in BGR; raises DatasetError for a file that is missing, too large, or no picture."""
    try:
        if path.stat().st_size > PICTURE_BYTES_MAX:
            raise DatasetError(f"{path}: larger than {PICTURE_BYTES_MAX} bytes; give a smaller picture")
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); give a JPEG or PNG file") from error
    if image is None:
        raise DatasetError(f"{path}: not a picture that can be read; give a JPEG or PNG file")
    return np.asarray(image, np.uint8)


def label_file(picture: Path) -> Path:
    """Where the labels of *picture* stand: its last folder ``images`` becomes ``labels``."""
    parts = list(picture.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _place(roots: list[Path], place: str) -> Path:
    """Where the pictures are: below ``path``, or where it is of another machine beside the file; a leading ``../`` that
    leads nowhere is left out, as Roboflow's files need it."""
    inside = place.removeprefix("../")
    found = (root / name for root in roots for name in (place, inside) if (root / name).exists())
    return next(found, roots[0] / place)


def _pictures(source: Path, place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(found for found in place.rglob("*") if found.suffix.lower() in SUFFIXES)
    if place.is_file() and place.suffix == ".txt":
        return [place.parent / line.strip() for line in place.read_text("utf-8-sig").splitlines() if line.strip()]
    raise DatasetError(f"{source}: {place} is neither a folder nor a .txt list of pictures; correct path or the split")


def _names(source: Path, names: list[object] | dict[object, object]) -> dict[int, str]:
    items = names.items() if isinstance(names, dict) else enumerate(names)
    try:
        found = {int(str(index)): str(name) for index, name in items}
    except ValueError as error:
        raise DatasetError(f"{source}: names has a key that is no class number ({error})") from error
    if len(set(found.values())) != len(found):
        raise DatasetError(f"{source}: names holds one name twice; classes are told apart by name")
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.is_file():
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
            if line.strip():
                yield number, line


def _label(path: Path, number: int, line: str, posed: bool) -> tuple[int, float, float, float, float]:
    try:
        class_id, *shares = (float(part) for part in line.split())
    except ValueError as error:
        raise DatasetError(f"{path}:{number}: {line[:60]!r} is not `class x y width height`") from error
    shares = shares[:4] if posed else shares
    polygon = len(shares) >= 6 and len(shares) % 2 == 0
    if not class_id.is_integer() or not (polygon or len(shares) == 4):
        raise DatasetError(f"{path}:{number}: {line[:60]!r} is not `class x y width height`")
    if not all(-SHARE_SLACK <= share <= 1 + SHARE_SLACK for share in shares):
        raise DatasetError(f"{path}:{number}: a share outside 0 to 1; boxes are in shares of the picture")
    if polygon:
        (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in (shares[::2], shares[1::2]))
        shares = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    centre_x, centre_y, width, height = shares
    return int(class_id), centre_x, centre_y, width, height
