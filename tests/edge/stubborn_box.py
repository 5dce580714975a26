"""`brightline-edge run CONFIG` whose cameras ignore everything: stubborn_box.py CONFIG SCRIPT (see camera_child.py).

With HANG=threads a thread of asyncio's own pool hangs as well, as a name look-up without a name server does.
"""

import asyncio
import os
import sys
import threading
from pathlib import Path

import edge.camera_process
from edge.cli import main
from edge.gateway import Gateway


class HangingGateway(Gateway):
    """Holds a thread of the event loop's pool for ever."""

    async def run(self, *arguments: object) -> None:
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
        await super().run(*arguments)  # type: ignore[arg-type]


if __name__ == "__main__":
    edge.camera_process.COMMAND = (sys.executable, str(Path(__file__).with_name("camera_child.py")), sys.argv[2])
    if os.environ.get("HANG") == "threads":
        import edge.gateway

        edge.gateway.Gateway = HangingGateway  # type: ignore[misc]
    sys.exit(main(["run", sys.argv[1]]))
