"""Fixtures for the box: a folder with an enrolled identity, and the programs of the box run as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from telemetry.signing import Signer
from tests.edge.console import RunEdge
from tests.warm import run_warm


@pytest.fixture
def run_edge() -> RunEdge:
    """`brightline-edge …` in a process of its own, with extra environment variables as keywords."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_warm("edge.cli", *map(str, arguments), environment={**os.environ, **environment})

    return run


@pytest.fixture
def enrolled(tmp_path: Path) -> Path:
    """A data folder with a key and an identity."""
    folder = tmp_path / "box"
    folder.mkdir(mode=0o700)
    Signer.generate().save(folder / "box.key")
    identity = {"box_id": "box-1", "site": "阳光小学", "time_zone": "Asia/Shanghai"}
    (folder / "identity.json").write_text(json.dumps(identity), "utf-8")
    return folder
