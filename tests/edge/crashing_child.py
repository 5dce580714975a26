"""A camera process for tests that dies of one camera: crashing_child.py FOLDER BAD HOW.

All its cameras see first. Then, if BAD is among them: ``abort`` leaves a crumb of BAD and aborts, ``kill`` does the
same by SIGKILL, ``fail`` as an error while it is judged does, ``misconfigured`` says so and goes on if there are
others. ``shadow`` aborts inside of its candidate while all cameras are judged, until it is told to turn that off. Each
start is noted in FOLDER/starts.
"""

import json
import os
import signal
import sys
from pathlib import Path

from vision.crumbs import BYTES_PER_CAMERA


def main() -> None:
    folder, bad, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    task = json.loads(sys.stdin.readline())
    names = [one["camera"]["id"] for one in task["cameras"]]
    incidents = [one["open_incidents"]["no_mask"] for one in task["cameras"]]
    with (folder / "starts").open("a") as starts:
        off = [one["crashed_shadows"] for one in task["cameras"]]
        starts.write(json.dumps({"cameras": names, "open": incidents, "crashed_shadows": off}) + "\n")
    for one in task["cameras"]:
        if how != "misconfigured" or one["camera"]["id"] != bad:
            say(one["camera"]["id"], "camera_blind")
            say(one["camera"]["id"], "camera_recovered")
    if bad in names and how == "misconfigured":
        say(bad, "misconfigured")
        if len(names) == 1:
            sys.exit(2)
    elif bad in names and 0 in task["cameras"][names.index(bad)]["crashed_shadows"]:
        say(bad, "model_changed", kind="candidate_off", model_sha256="c" * 64)
    elif bad in names:
        crumbs = bytearray(b"0" * BYTES_PER_CAMERA * len(names))
        crumbs[BYTES_PER_CAMERA * names.index(bad) + {"fail": 1, "shadow": 2}.get(how, 0)] = ord("1")
        if how == "shadow":
            crumbs[1::BYTES_PER_CAMERA] = b"1" * len(names)
        Path(task["crumbs_file"]).write_bytes(crumbs)
        if how == "fail":
            sys.exit(1)
        os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGABRT)
    sys.stdin.read()


def say(camera: str, what: str, **more: str) -> None:
    sys.stdout.write(json.dumps({"camera": camera, "type": what, "reason": "scripted", **more}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
