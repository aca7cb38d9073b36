"""A real RTSP server on loopback (GStreamer's): plays a file to all, takes a pushed stream.

It runs with the system's Python, which has GStreamer's bindings; a virtual environment has not:

    /usr/bin/python3 rtsp_server.py PORT FILE.mp4

`/play` gives the file's H.264 from its start to whoever connects, `/push` takes a stream. It prints
`ready` when it listens, and `frame` for every frame that was pushed.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, path = sys.argv[1], sys.argv[2]
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
play = GstRtspServer.RTSPMediaFactory()
play.set_launch(
    f"( filesrc location={path} ! qtdemux ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)
push = GstRtspServer.RTSPMediaFactory()
push.set_launch("( rtph264depay name=depay0 ! fakesink name=seen silent=false )")
push.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def count(factory: object, media: GstRtspServer.RTSPMedia) -> None:
    sink = media.get_element().get_by_name("seen")
    sink.set_property("signal-handoffs", True)
    sink.connect("handoff", lambda *_: say("frame"))


push.connect("media-configure", count)
for place, factory in (("/play", play), ("/push", push)):
    server.get_mount_points().add_factory(place, factory)
if not server.attach(None):
    sys.exit(f"cannot listen at port {port}")
say("ready")
GLib.MainLoop().run()
