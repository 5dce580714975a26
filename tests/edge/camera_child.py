"""A camera process in a few lines, for tests: says the lines of its script, then does as its last word says.

Usage: camera_child.py SCRIPT: a JSON list of texts to print, then one of `obey` (end when the input closes), `exit`,
`answer` (each order, with a compliant verdict),
`ignore` (close nothing, end never, and have a child that holds the output), `flood` (print for ever). Of each start
it leaves the settings it was given in SCRIPT.started, one line each.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:
    script = Path(sys.argv[1])
    *lines, end = json.loads(script.read_text("utf-8"))
    settings = sys.stdin.readline()
    first = json.loads(settings)["cameras"][0]["camera"]["id"]
    with script.with_suffix(".started").open("a", encoding="utf-8") as started:
        started.write(json.dumps({"pid": os.getpid(), **json.loads(settings)}) + "\n")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    while end == "answer" and (line := sys.stdin.readline()):
        order = json.loads(line)
        said = {"camera": order["camera"], "type": "looked", "order_id": order["order_id"], "status": "done",
                "verdict": "compliant", "evidence": ["e1"]}  # fmt: skip
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
    if end == "answer":
        return
    if end == "exit":
        sys.exit(3)
    if end == "obey":
        sys.stdin.read()
        return
    if end == "ignore":
        holder = subprocess.Popen(["sleep", "45"])
        script.with_suffix(".holder").write_text(str(holder.pid))
    while end == "flood":
        sys.stdout.write(json.dumps({"camera": first, "type": "stats"}) + "\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
