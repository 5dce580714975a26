"""Run by the system's Python, which has GStreamer: MPEG-TS on standard input becomes rtsp://127.0.0.1:PORT/kitchen.

Usage: python3 rtsp_server.py PORT (0 = a free one); prints one JSON line with the address.
"""

import json
import os
import signal
import sys
import threading
from typing import Any

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

Gst.init(None)
loop = GLib.MainLoop()
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( appsrc name=source is-live=true format=time do-timestamp=true caps=video/mpegts,systemstream=true,packetsize=188"
    " ! tsdemux ! h264parse config-interval=1 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
factory.set_shared(True)
factory.set_suspend_mode(GstRtspServer.RTSPSuspendMode.NONE)
sources: list[Any] = []  # the one appsrc, once somebody watches


def on_configure(_factory: Any, media: Any) -> None:
    source = media.get_element().get_by_name_recurse_up("source")
    sources[:] = [source]
    media.connect("unprepared", lambda _media: sources.clear())


def read_input() -> None:
    """Always drain standard input: what nobody watches is dropped, so the encoder is never held up."""
    while data := os.read(0, 65536):
        for source in sources[:1]:
            source.emit("push-buffer", Gst.Buffer.new_wrapped(data))
    GLib.idle_add(loop.quit)


factory.connect("media-configure", on_configure)
server.get_mount_points().add_factory("/kitchen", factory)
if server.attach(None) == 0:
    sys.exit("the port is taken")
for number in (signal.SIGTERM, signal.SIGINT):
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, loop.quit)
sys.stdout.write(json.dumps({"source": f"rtsp://127.0.0.1:{server.get_bound_port()}/kitchen"}) + "\n")
sys.stdout.flush()
threading.Thread(target=read_input, daemon=True).start()
loop.run()
