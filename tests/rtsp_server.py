"""A real RTSP server on loopback (GStreamer's): plays a file to all, takes a pushed stream.

It runs with the system's Python, which has GStreamer's bindings; a virtual environment has not:

    /usr/bin/python3 rtsp_server.py PORT FILE.mp4 [basic|digest:USER:PASSWORD]

`/play` gives the file's H.264 (H.265 of a `.hevc.mp4`) from its start to whoever connects, `/push`
takes a stream. It prints `ready` when it listens, and `frame` for every frame that was pushed.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

port, path = sys.argv[1], sys.argv[2]
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
play = GstRtspServer.RTSPMediaFactory()
pay = "h265parse ! rtph265pay" if path.endswith(".hevc.mp4") else "rtph264pay"
play.set_launch(f"( filesrc location={path} ! qtdemux ! {pay} name=pay0 pt=96 config-interval=-1 )")
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
if len(sys.argv) > 3:
    kind, user, password = sys.argv[3].split(":", 2)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth = GstRtspServer.RTSPAuth()
    if kind == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    server.set_auth(auth)
    role = Gst.Structure.new_from_string(
        "user, media.factory.access=true, media.factory.construct=true"
    )
    for factory in (play, push):
        factory.add_role_from_structure(role)
for place, factory in (("/play", play), ("/push", push)):
    server.get_mount_points().add_factory(place, factory)
if not server.attach(None):
    sys.exit(f"cannot listen at port {port}")
say("ready")
GLib.MainLoop().run()
