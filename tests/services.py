"""Programs that tests need and pip does not bring: a missing one skips, except where CI has promised it."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str) -> str:
    """The path of *program*; skips the test without it, or fails when BRIGHTLINE_REQUIRE_SERVICES=1."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(f"{program} is not installed")
    assert path is not None
    return path


def missing(reason: str) -> None:
    """Skip for *reason*, or fail when BRIGHTLINE_REQUIRE_SERVICES=1."""
    if os.environ.get("BRIGHTLINE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason}, and BRIGHTLINE_REQUIRE_SERVICES=1")
    pytest.skip(reason)
