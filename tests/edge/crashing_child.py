"""A camera process for tests that dies of one camera: crashing_child.py FOLDER BAD HOW.

All its cameras see first. Then, if BAD is among them: ``abort`` leaves a crumb of BAD and aborts, ``kill`` does the
same by SIGKILL, ``fail`` as an error while it is judged does, ``misconfigured`` says so and goes on if there are
others. Each start is noted in FOLDER/starts.
"""

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    folder, bad, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    task = json.loads(sys.stdin.readline())
    names = [one["camera"]["id"] for one in task["cameras"]]
    incidents = [one["open_incidents"]["no_mask"] for one in task["cameras"]]
    with (folder / "starts").open("a") as starts:
        starts.write(json.dumps({"cameras": names, "open": incidents}) + "\n")
    for one in task["cameras"]:
        if how != "misconfigured" or one["camera"]["id"] != bad:
            say(one["camera"]["id"], "camera_blind")
            say(one["camera"]["id"], "camera_recovered")
    if bad in names and how == "misconfigured":
        say(bad, "misconfigured")
        if len(names) == 1:
            sys.exit(2)
    elif bad in names:
        crumbs = bytearray(b"0" * 2 * len(names))
        crumbs[2 * names.index(bad) + (how == "fail")] = ord("1")
        Path(task["crumbs_file"]).write_bytes(crumbs)
        if how == "fail":
            sys.exit(1)
        os.kill(os.getpid(), signal.SIGABRT if how == "abort" else signal.SIGKILL)
    sys.stdin.read()


def say(camera: str, kind: str) -> None:
    sys.stdout.write(json.dumps({"camera": camera, "type": kind, "reason": "scripted"}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
