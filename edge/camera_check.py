"""`brightline-edge check` asks here whether the cameras' models fit: digests, and the classes that violations need.

Asked in a process of its own (`python -m edge.camera_check`), as cameras are watched: the console loads no vision, and
a box without the vision extra says so for its cameras alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.config_cameras import Camera

CHECK_S_MAX = 120.0  # the digests of large models on a slow card
TOLD_MAX = 500


def check_cameras(cameras: Sequence[Camera], model: Path | None = None) -> list[tuple[int, str]]:
    """The number of each camera that cannot work, and why; none when all can.

    *model* is also loaded and looks at a picture; the number of its problem is that of the cameras.
    """
    if not cameras:
        return []
    lines = "".join(camera.model_dump_json(by_alias=True) + "\n" for camera in cameras)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edge.camera_check", *([str(model)] if model else [])],
            input=lines, capture_output=True, text=True, timeout=CHECK_S_MAX, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [(0, f"the models could not be checked in {CHECK_S_MAX:.0f} s")]
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it died"])[-1]
        return [(0, f"the models could not be checked: {reason[:TOLD_MAX]}; install brightline[edge,vision]")]
    return [(number, text) for number, text in enumerate(json.loads(done.stdout)) if text]


def main() -> int:
    """The child: a camera a line on standard input, one JSON list of problems ('' is none) on standard output; the last
    one is of the model that is its argument, if one is."""
    from edge.camera import load_problem, model_problem

    cameras = [Camera.model_validate_json(line) for line in sys.stdin]
    problems = [model_problem(camera) for camera in cameras] + [load_problem(Path(name)) for name in sys.argv[1:]]
    sys.stdout.write(json.dumps([text[:TOLD_MAX] for text in problems]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
