"""SIGKILL at random moments of writing and removing evidence: what was announced is there or has a tombstone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from edge.evidence_folder import EvidenceFolder
from telemetry.batch import sha256_hex
from telemetry.evidence import open_evidence
from telemetry.spool import EvidenceSpool
from tests.edge.console import ROOT
from tests.edge.originals import SIGNER, key_of, tombstones

BYTES_MAX = 200_000  # of the originals: enough for a dozen incidents, so that old ones are removed all the time
# For each line "round seed" on its input: a child keeps incidents and says each, until it is killed at a random moment.
BOX = """
import json, os, random, signal, sys, threading
from datetime import UTC, datetime
from pathlib import Path
import pyrage
sys.path.insert(0, sys.argv[1])
from edge.camera_task import CameraTask
from edge.camera_evidence import EvidenceDesk, Pictures, Subject
from edge.config_cameras import Camera
from edge.config_evidence import EvidenceSection
from edge.evidence_folder import EvidenceFolder
from telemetry.evidence import FrameTimes
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool
box, at = Path(sys.argv[2]), datetime(2026, 3, 2, tzinfo=UTC)
section = EvidenceSection(sealed_to=(sys.argv[3],))
task = CameraTask(box_id="box-1", camera=Camera(id="k", name="k", source="rtsp://c/1"), key_file=box / "key",
                  spool_dir=box / "spool", open_incidents={}, evidence=section)

def keep_until_killed(number, seed):
    chance = random.Random(seed)
    folder = EvidenceFolder(task.evidence_dir, bytes_max=int(sys.argv[4]), free_bytes_min=0)
    desk = EvidenceDesk(task, Signer.load(task.key_file), EvidenceSpool(task.spool_dir), folder)
    moment = threading.Timer(chance.uniform(0.0, 0.3), os.kill, (os.getpid(), signal.SIGKILL))
    moment.start()
    for index in range(10_000):
        subject = Subject(f"r{number}-{index}", "no_mask", at, "a" * 64, "no_mask")
        snapshot, drawn = chance.randbytes(3_000), chance.randbytes(3_000)
        kept = desk.keep_pictures(Pictures(chance.randbytes(8_000), snapshot, drawn, "blurred"), subject)
        held = index % 9 == 4 and index < 36  # more would fill the box on a fast machine
        if held:
            folder.hold(subject.incident_id, "", at)
        clip = chance.randbytes(8_000)
        desk.keep_clip(clip, FrameTimes(first_at=at, last_at=at, count=1), subject)
        print(json.dumps({"incident": subject.incident_id, "evidence": desk.of_incident(subject.incident_id),
                          "missing": kept.missing, "held": held}), flush=True)

for line in sys.stdin:
    child = os.fork()
    if not child:
        keep_until_killed(*map(int, line.split()))
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def check(box: Path, announced: list[dict[str, object]], where: str) -> None:
    folder = EvidenceFolder(box / "evidence", bytes_max=BYTES_MAX, free_bytes_min=0)
    spool = EvidenceSpool(box / "spool")
    assert folder.recover(key_of) == spool.recover(key_of) == [], f"{where}: something is torn"
    assert not [*box.rglob("*.part"), *box.rglob("*.purged-*")], f"{where}: something was left half done"
    sent = {path.stem: open_evidence(path.read_bytes(), key_of) for path in spool.waiting()}
    signed = {sha256_hex(item.signed) for item in sent.values()}
    follows = {item.manifest.previous_sha256 for item in sent.values()} - {None}
    assert follows <= signed, f"{where}: the chain names evidence that is not there"
    gone = {stone["sha256"] for stone in tombstones(folder)}
    for said in announced:
        incident = str(said["incident"])
        names = said["evidence"]
        assert isinstance(names, list)
        assert (len(names), said["missing"]) == (4, []), where
        assert {sent[name].manifest.incident_id for name in names} == {incident}, where
        originals = {sent[name].manifest.original_sha256 for name in names} - {None}
        assert len(originals) == 2
        for name in map(str, originals):
            kept = folder.find(incident, name) is not None
            assert kept != (name in gone), (
                f"{where}: {incident} {name} is kept or told to be gone, never both or neither"
            )
            assert kept or not said["held"], f"{where}: {incident} was held"
        said["held"] = False
    for incident in folder.holds():  # the next round has the room again
        folder.release(incident)


def kill_rounds(box: Path, rounds: int) -> None:
    from pyrage.x25519 import Identity

    SIGNER.save(box / "key")
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    command = [sys.executable, "-c", BOX, str(ROOT), str(box), str(Identity.generate().to_public()), str(BYTES_MAX)]
    announced: list[dict[str, object]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:
        assert forks.stdin is not None
        assert forks.stdout is not None
        for number in range(rounds):
            forks.stdin.write(f"{number} {chance.randrange(2**32)}\n")
            forks.stdin.flush()
            while (line := forks.stdout.readline().strip()) and not line.endswith("dead"):
                if line.endswith("}"):
                    announced.append(json.loads(line))
            assert line, f"seed {seed}: the programs ended"
            check(box, announced, f"seed {seed}, round {number}")
        forks.stdin.close()
    assert announced, "every round was killed before it announced anything: the test shows nothing"


def test_sigkill_at_random_moments_loses_nothing_that_was_announced(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 10)


@pytest.mark.slow
def test_sigkill_at_two_hundred_random_moments_loses_nothing_that_was_announced(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 200)
