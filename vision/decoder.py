"""Packets of one connection in, whole pictures out, in software or in the box's hardware.

What the decoder calls damaged is never given out, nor what follows it up to the next keyframe: it would be drawn from
the damaged picture.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from vision.hardware import own_decoder

DAMAGED_S_MAX = 15.0  # without one whole picture: then a new connection, which begins at a keyframe


class PictureDecoder:
    """``video`` is the stream of an opened container; ``drops`` counts what is damaged as ``decode_error``."""

    def __init__(self, video: Any, *, hardware: str, keyframes_only: bool, drops: Counter[str]) -> None:
        """Raises av.FFmpegError or ValueError when the hardware cannot do it."""
        self._video = video
        self._own = own_decoder(hardware, video)
        self._drops = drops
        self._whole = True
        self._whole_s = time.monotonic()
        video.thread_type = "SLICE"  # threads over whole frames would hold back one picture each
        if keyframes_only:
            (self._own or video.codec_context).skip_frame = "NONKEY"

    def decode(self, packet: Any) -> Iterator[Any]:
        """The whole pictures of *packet*; raises ValueError when all has been damaged for too long."""
        import av

        self._whole = self._whole and not packet.is_corrupt
        try:
            pictures = self._own.decode(packet) if self._own else packet.decode()
        except av.InvalidDataError:
            pictures, self._whole = [], False
            self._drops["decode_error"] += 1
        for picture in pictures:
            self._whole = not picture.is_corrupt and (self._whole or bool(picture.key_frame))
            if self._whole:
                self._whole_s = time.monotonic()
                yield picture
            else:
                self._drops["decode_error"] += 1
        if not self._whole and time.monotonic() - self._whole_s > DAMAGED_S_MAX:
            raise ValueError("the camera sends damaged pictures")

    def forget(self) -> None:
        """Packets were left out: what the decoder still holds is older than they are, and the next is a keyframe."""
        (self._own or self._video.codec_context).flush_buffers()

    @property
    def damaged(self) -> bool:
        """Whether nothing can be given out until the next keyframe."""
        return not self._whole
