"""`python -m tests.fuzz.atheris_run TARGET [libFuzzer options]`: one reader under coverage-guided fuzzing.

atheris is no dependency of the project: install it where the project is installed (Python 3.11 to 3.13) and run this.
It ends with a status other than 0 when a promise is broken, and leaves the input in a file called crash-….
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge", "telemetry"]):
    from tests.fuzz.targets import SEEDS, TARGETS


def main(name: str, options: list[str]) -> None:
    """Fuzz the reader *name* until the options say stop."""
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[name]):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        atheris.Setup([sys.argv[0], *options, folder], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
