"""The small film of an incident that may be shared: few pictures, little size, faces hidden in every one of them.

`python -m vision.blurred_film SETTINGS` is a process of its own, at the lowest priority and with a bound on its CPU
time, after the fact: it never holds up what watches. The camera's film comes in on standard input; out comes a line of
JSON (faces, pictures, seconds from the film's beginning to the first and to the last) and then an MP4 with H.264.
What is hidden in one picture stays hidden in the one before and the one after, so that a single miss shows nobody.
What the camera's masks cover is grey before anything else sees it.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vision.close_look import FIRST_LOOK_CONFIDENCE
from vision.detections import Floats
from vision.detector import Detector, OnnxDetector
from vision.faces import FaceHider, Faces, pixelate, tells_of_people
from vision.frame import Image
from vision.manifest import ModelError
from vision.reader import EARLY_SHARE, next_due
from vision.scene import sightings_of
from vision.zones import Masks, Point

CLIP_BYTES_MAX = 16 * 1024 * 1024
PICTURES_MAX = 400
CRF, PRESET = "28", "veryfast"  # x264: small; nobody measures anything in a shared film
TIME_BASE = Fraction(1, 1000)
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class FilmSettings:
    """``models``: of the camera; only those that know people or heads are asked. ``masks``: its polygons, in 0-1."""

    models: tuple[Path, ...]
    face_model: Path | None = None
    masks: tuple[tuple[Point, ...], ...] = ()
    rate_fps: float = 5.0
    width_px_max: int = 640
    cpu_s_max: int = 120

    @classmethod
    def parse(cls, text: str) -> FilmSettings:
        """From JSON; raises ValueError."""
        data = json.loads(text)
        face_model = data.pop("face_model", None)
        models = tuple(Path(item) for item in data.pop("models"))
        masks = tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in data.pop("masks", ()))
        return cls(models, Path(face_model) if face_model else None, masks, **data)


@dataclass(frozen=True)
class BlurredFilm:
    """An MP4, what was done to its ``pictures``, and their times from the beginning of the camera's film."""

    mp4: bytes
    faces: Faces
    pictures: int
    first_s: float
    last_s: float


@dataclass(frozen=True)
class _Picture:
    image: Image
    at_s: float
    places: list[Floats]


def blur_film(clip_mp4: bytes, settings: FilmSettings) -> BlurredFilm:
    """The film that may be shared. Raises ModelError, or ValueError for a film that cannot be played or encoded."""
    import av

    every = [OnnxDetector(path, confidence=FIRST_LOOK_CONFIDENCE) for path in settings.models]
    detectors = [detector for detector in every if tells_of_people(detector.names.values())]
    hider = FaceHider(checked=bool(detectors), face_model=settings.face_model)
    try:
        return _encode(_pictures(clip_mp4, settings, detectors, hider), settings, hider)
    except av.FFmpegError as error:
        raise ValueError(f"the film cannot be made: {type(error).__name__}: {error}") from error


def _pictures(
    clip_mp4: bytes, settings: FilmSettings, detectors: Sequence[Detector], hider: FaceHider
) -> Iterator[_Picture]:
    """So many a second as wanted, each with the places that hold faces."""
    import av

    due_s, begin_s, count, masks = 0.0, None, 0, Masks(settings.masks)
    with av.open(io.BytesIO(clip_mp4), "r") as container:
        for picture in container.decode(video=0):
            if picture.time is None:
                continue
            begin_s = picture.time if begin_s is None else begin_s
            at_s = picture.time - begin_s
            if at_s + EARLY_SHARE / settings.rate_fps < due_s:
                continue
            due_s = next_due(due_s, at_s, 1 / settings.rate_fps)
            image = masks.cover(np.asarray(picture.to_ndarray(format="bgr24"), np.uint8))
            seen = [item for model in detectors for item in sightings_of(model.detect(image), model.names)]
            yield _Picture(image, at_s, hider.places(image, seen))
            count += 1
            if count >= PICTURES_MAX:
                return


def _encode(pictures: Iterator[_Picture], settings: FilmSettings, hider: FaceHider) -> BlurredFilm:
    import av

    file = io.BytesIO()
    stream: Any = None
    times: list[float] = []
    masks = Masks(settings.masks)
    found = False
    with av.open(file, "w", format="mp4") as container:
        for picture, places in _with_neighbours(pictures):
            found = found or bool(places)
            hidden = masks.cover(pixelate(picture.image, places))  # cells of a head beside a mask reach into it
            image = _shrink(hidden, settings.width_px_max)
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(settings.rate_fps).limit_denominator(100))
                stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
                stream.codec_context.time_base = TIME_BASE
                stream.options = {"crf": CRF, "preset": PRESET, "threads": "1"}
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = round(picture.at_s * 1000), TIME_BASE
            container.mux(stream.encode(frame))
            times.append(picture.at_s)
        if stream is None:
            raise ValueError("the film holds no picture")
        container.mux(stream.encode(None))
    return BlurredFilm(file.getvalue(), hider.verdict(found=found), len(times), times[0], times[-1])


def _with_neighbours(pictures: Iterator[_Picture]) -> Iterator[tuple[_Picture, list[Floats]]]:
    """Each picture with its own places and those of the pictures before and after it."""
    before: list[Floats] = []
    current: _Picture | None = None
    for following in pictures:
        if current is not None:
            yield current, [*before, *current.places, *following.places]
            before = current.places
        current = following
    if current is not None:
        yield current, [*before, *current.places]


def _shrink(image: Image, width_px_max: int) -> Image:
    """At most so wide, and of an even size, as H.264 wants it."""
    scale = min(1.0, width_px_max / image.shape[1])
    size = tuple(max(2, round(side * scale) // 2 * 2) for side in (image.shape[1], image.shape[0]))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def main(argv: Sequence[str]) -> int:
    """Exit status 0 with a film on standard output, 1 with the reason on standard error."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it does not outlive what wants the film
    os.nice(19)
    cv2.setNumThreads(1)
    try:
        settings = FilmSettings.parse(argv[0])
        resource.setrlimit(resource.RLIMIT_CPU, (settings.cpu_s_max, settings.cpu_s_max))
        clip = sys.stdin.buffer.read(CLIP_BYTES_MAX + 1)
        if len(clip) > CLIP_BYTES_MAX:
            raise ValueError(f"the film has more than {CLIP_BYTES_MAX} bytes")
        film = blur_film(clip, settings)
    except (ModelError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    told = {"faces": film.faces, "pictures": film.pictures, "first_s": film.first_s, "last_s": film.last_s}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + film.mp4)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
