"""A recorded film as frames, as fast as they can be judged: time is the film's own, whatever the machine's speed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from vision.address import CameraAddress
from vision.frame import Frame
from vision.keyframes import Keyframes
from vision.reader import EARLY_SHARE, READ_ERRORS, next_due


def read_film(path: Path, rate_fps: float, start: datetime) -> Iterator[Frame]:
    """The pictures of *path*, *rate_fps* of them a second at most; the first is of *start*. Raises ValueError."""
    import av

    interval_s = 1 / rate_fps
    first_s: float | None = None
    due_s = 0.0
    index = 0
    try:
        with CameraAddress(str(path)).open() as container:
            video = container.streams.video[0]
            keyframes = Keyframes(video)
            for picture in container.decode(video):
                if picture.time is None:
                    continue
                first_s = picture.time if first_s is None else first_s
                now_s = picture.time - first_s
                keyframes.take(picture, now_s)
                if now_s + EARLY_SHARE * interval_s < due_s:
                    continue
                due_s = next_due(due_s, now_s, interval_s)
                image = np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)
                yield Frame(image, start + timedelta(seconds=now_s), now_s, index, keyframes.latest)
                index += 1
    except (av.FFmpegError, *READ_ERRORS) as error:
        raise ValueError(f"{path}: cannot be played ({type(error).__name__}: {error}); give a video file") from error
    if not index:
        raise ValueError(f"{path}: holds no picture; give a video file")
