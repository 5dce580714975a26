"""Coverage-guided fuzzing of every reader, where atheris is installed; it is no dependency of the project."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("BRIGHTLINE_FUZZ_S", "20"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed"),
]


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_that_coverage_leads_to_breaks_a_reader(name: str, tmp_path: Path) -> None:
    options = (
        f"-max_total_time={SECONDS}",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-max_len=4096",
        f"-artifact_prefix={tmp_path}/",
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.atheris_run", name, *options],
        cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 120, check=False,
    )  # fmt: skip
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert (done.returncode, found) == (0, {}), done.stderr[-3000:]
