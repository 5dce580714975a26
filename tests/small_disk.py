"""A really small file system, where this machine lets root mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounting_small_disk(mountpoint: Path, size_mib: int = 4) -> Iterator[Path]:
    """A file system of so many MiB at *mountpoint*, which is made; the test is skipped where that is not possible."""
    mountpoint.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={size_mib}m,mode=700", "tmpfs", str(mountpoint))
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a small file system")
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", str(mountpoint)], check=True)


def fill_disk(folder: Path, leave_bytes: int = 0) -> Path:
    """Something else takes the rest of the disk."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(folder).free - leave_bytes))
    return ballast
