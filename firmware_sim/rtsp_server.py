"""Run by the system's Python, which has GStreamer: MPEG-TS on standard input becomes rtsp://127.0.0.1:PORT/kitchen.

Usage: python3 rtsp_server.py PORT (0 = a free one); prints one JSON line with the address.
"""

import json
import signal
import sys

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
    "( fdsrc fd=0 ! tsdemux ! h264parse config-interval=1 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
factory.set_shared(True)
factory.set_suspend_mode(GstRtspServer.RTSPSuspendMode.NONE)
server.get_mount_points().add_factory("/kitchen", factory)
if server.attach(None) == 0:
    sys.exit("the port is taken")
for number in (signal.SIGTERM, signal.SIGINT):
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, loop.quit)
sys.stdout.write(json.dumps({"source": f"rtsp://127.0.0.1:{server.get_bound_port()}/kitchen"}) + "\n")
sys.stdout.flush()
loop.run()
