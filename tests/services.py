"""Real programs that some tests need: a missing one skips the test, unless the machine promised to have them all."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str) -> str:
    """The path of *program*; skips with the reason when it is missing, fails where BRIGHTLINE_REQUIRE_SERVICES is 1."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        reason = f"{program} is not installed"
        if os.environ.get("BRIGHTLINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
