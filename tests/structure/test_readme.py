"""README.md is run as a newcomer would run it: each ``sh run`` block, line by line, in one folder."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STAYS = re.compile(r"^brightline-(server serve|edge run) ")


class Newcomer:
    """Types the lines of README.md into a shell in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = ""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "REGULATOR_PASSWORD": "correct horse",
            "STAFF_PASSWORD": "battery staple",
        }
        self.running: list[subprocess.Popen[str]] = []

    def type(self, line: str) -> None:
        line = line.replace("8000", self.port).replace("CODE", self.code)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = value.strip('"')
        elif STAYS.match(line):
            self.start(line)
        else:
            shell = ["bash", "-ec", line]
            done = subprocess.run(
                shell, check=False, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            if " enrol --site" in line:
                self.code = done.stdout.strip()
            if line.startswith("cp "):
                self.set_address()

    def set_address(self) -> None:
        """What README.md asks the installer to do by hand."""
        config = self.folder / "box.yaml"
        text = config.read_text("utf-8").replace("https://centre.example", f"http://127.0.0.1:{self.port}")
        config.write_text(text, "utf-8")

    def start(self, line: str) -> None:
        log = self.folder / f"{line.split()[1]}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                ["bash", "-ec", f"exec {line}"],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=file,
                text=True,
            )
        self.running.append(process)
        wait_for(f"{line} is up", lambda: process.poll() is not None or re.search("http://|runs:", log.read_text()))
        assert process.poll() is None, f"{line}\n{log.read_text()}"


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    typist = Newcomer(tmp_path)
    yield typist
    for process in reversed(typist.running):
        process.terminate()
        process.wait(30)


def test_every_command_of_the_readme_works_in_its_order(newcomer: Newcomer) -> None:
    lines = [line for block in BLOCK.findall((ROOT / "README.md").read_text("utf-8")) for line in block.splitlines()]
    assert len(lines) >= 10
    for line in lines:
        newcomer.type(line)
    assert [process.poll() for process in newcomer.running] == [None, None], "centre and box run on"


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|    )make ([a-z-]+)", (ROOT / "README.md").read_text("utf-8")))
    assert named <= targets
    assert {"demo", "test"} <= named


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
