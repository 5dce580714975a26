"""The real camera process, but for one model, which aborts in native code: aborting_candidate.py SHA256 RUNS.

The model with that digest runs RUNS times (the first run is the trial when it is loaded) and then aborts the process,
as an assertion inside of a runtime would.
"""

import os
import sys
from typing import Any

from edge.camera import main
from vision.model_shelf import ModelShelf

SHA256, RUNS = sys.argv[1], int(sys.argv[2])
real_session = ModelShelf.session


class AbortingSession:
    """Like the session that it wraps, until it is used too often."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._left = RUNS

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def run(self, *given: Any) -> Any:
        if not self._left:
            os.abort()
        self._left -= 1
        return self._session.run(*given)


def session(shelf: ModelShelf, sha256: str, data: bytes) -> Any:
    found = real_session(shelf, sha256, data)
    return AbortingSession(found) if sha256 == SHA256 else found


if __name__ == "__main__":
    ModelShelf.session = session  # type: ignore[method-assign]
    sys.exit(main())
