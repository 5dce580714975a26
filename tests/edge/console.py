"""Where the programs are, and the shape of the fixture that runs the box's console."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RunEdge = Callable[..., "subprocess.CompletedProcess[str]"]
