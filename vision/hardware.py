"""Which of the box's hardware decodes pictures: asked for by name, or whatever is there, or none.

Hardware that does not work is no reason to be blind: the reader says so once and decodes in software
(`vision.reader`). ``v4l2m2m`` (Raspberry Pi) is a decoder of its own, the others are devices under FFmpeg's usual one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

Hardware = Literal["auto", "none", "v4l2m2m", "vaapi", "drm", "cuda", "qsv"]
HARDWARE: tuple[str, ...] = get_args(Hardware)
_NODES = {"v4l2m2m": "/dev/video10", "vaapi": "/dev/dri/renderD128"}  # what `auto` looks for, in this order
_OWN_DECODERS = {"h264": "h264_v4l2m2m", "hevc": "hevc_v4l2m2m"}


def found_hardware(wanted: str) -> str:
    """The hardware to try for *wanted*; "none" where `auto` finds nothing. Raises ValueError for an unknown word."""
    if wanted not in HARDWARE:
        raise ValueError(f"hardware is {wanted}, none of {', '.join(HARDWARE)}")
    if wanted != "auto":
        return wanted
    return next((kind for kind, node in _NODES.items() if Path(node).exists()), "none")


def accelerator(kind: str) -> Any:
    """What `av.open` takes as ``hwaccel`` for *kind*; None where the usual decoder stays alone."""
    if kind in ("none", "v4l2m2m"):
        return None
    from av.codec.hwaccel import HWAccel

    return HWAccel(device_type=kind, allow_software_fallback=False)


def own_decoder(kind: str, video: Any) -> Any:
    """The hardware's own decoder for the stream *video*, or None; raises av.FFmpegError or ValueError."""
    if kind != "v4l2m2m":
        return None
    import av

    given = video.codec_context
    if given.name not in _OWN_DECODERS:
        raise ValueError(f"v4l2m2m has no decoder for {given.name}")
    decoder: Any = av.CodecContext.create(_OWN_DECODERS[given.name], "r")
    decoder.width, decoder.height, decoder.extradata = given.width, given.height, given.extradata
    decoder.open()
    return decoder
