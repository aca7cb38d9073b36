"""WHIP (RFC 9725): offers a pipeline's WebRTC stream to a server over HTTP.

Run beside `child`, in the Python that has PyGObject: it needs nothing of ours. The offer holds all
of this machine's candidates, so that one request is all there is; the server's are in its answer.
"""

from __future__ import annotations

import http.client
import math
import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from typing import Any

NEEDS = {
    "webrtcbin": "gstreamer1.0-plugins-bad",
    "nicesink": "gstreamer1.0-nice",
    "dtlssrtpenc": "gstreamer1.0-plugins-bad",
    "srtpenc": "gstreamer1.0-plugins-bad",
    "rtph264pay": "gstreamer1.0-plugins-good",
}
"""Elements, and the packages that have them."""

NAME = "adcvsr-whip"
"""Of the `webrtcbin` in the pipeline."""

POLL_S = 0.02

GOODBYE_S = 2.0
"""How long the server may take to be told of the end."""

MOST_REDIRECTS = 5
CREATED, REDIRECTS = 201, (301, 302, 307, 308)
MOST_ANSWER_BYTES = 1 << 20
ANSWER_LETTERS = 200
"""Letters of a refusal's body that are told."""

COMPLETE, CONNECTED, DISCONNECTED = 2, 2, 3
"""Of GStreamer's states of gathering and of the connection; beyond connected it is lost."""


class WhipError(Exception):
    """What the server said, or what did not come; for people."""


def missing(gst: Any) -> str:
    """What is not there; empty where all is."""
    gone = sorted({package for name, package in NEEDS.items() if not gst.ElementFactory.find(name)})
    try:
        import gi

        gi.require_version("GstWebRTC", "1.0")
        gi.require_version("GstSdp", "1.0")
    except ValueError:
        gone.append("gir1.2-gst-plugins-bad-1.0")
    return ", ".join(gone)


class Signalling:
    """What is said to the server over HTTP.

    Args:
        url: Of the server, `http` or `https`.
        authorization: Header of that name; empty for none.
    """

    def __init__(self, url: str, authorization: str = "") -> None:
        self._url, self._authorization = url, authorization
        self._resource = ""

    def offer(self, sdp: str, timeout_s: float) -> str:
        """Send an offer, also to where the server points; returns its answer.

        Raises:
            WhipError: It takes none.
        """
        url = self._url
        for _ in range(MOST_REDIRECTS):
            status, place, body = self._ask("POST", url, sdp, timeout_s)
            if status not in REDIRECTS or not place:
                break
            moved = urllib.parse.urljoin(url, place)
            if urllib.parse.urlsplit(moved)[:2] != urllib.parse.urlsplit(url)[:2]:
                self._authorization = ""  # it is the first server's alone
            url = moved
        if status != CREATED:
            said = " ".join(body.split())[:ANSWER_LETTERS]
            reason = http.client.responses.get(status, "")
            raise WhipError(
                f"it answers {status} {reason}".rstrip()
                + (f" ({said})" if said else "")
                + (": token=... is missing or wrong" if status in (401, 403) else "")
                + (", expected 201 Created as WHIP has it" if status < 400 else "")
            )
        self._resource = urllib.parse.urljoin(url, place) if place else ""
        return body

    def end(self) -> None:
        """Tell the server that the stream is over; what it says to that is nobody's business."""
        resource, self._resource = self._resource, ""
        if resource:
            with suppress(WhipError):
                self._ask("DELETE", resource, "", GOODBYE_S)

    def _ask(self, method: str, url: str, body: str, timeout_s: float) -> tuple[int, str, str]:
        """Status, place and body of an answer."""
        try:
            parts = urllib.parse.urlsplit(url)
            kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}.get(
                parts.scheme
            )
            if kind is None or not parts.hostname:
                raise WhipError("it points to what is no address of a server")
            headers = {"Content-Type": "application/sdp"} if body else {}
            if self._authorization:
                headers["Authorization"] = self._authorization
            connection = kind(parts.hostname, parts.port, timeout=timeout_s)
            path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            try:
                connection.request(method, path, body or None, headers)
                answer = connection.getresponse()
                text = answer.read(MOST_ANSWER_BYTES).decode("utf-8", "replace")
                return answer.status, answer.headers.get("Location", ""), text
            finally:
                connection.close()
        except OSError as error:
            raise WhipError(str(error.strerror or error)) from error
        except (http.client.HTTPException, ValueError) as error:
            raise WhipError(f"it speaks no HTTP ({type(error).__name__})") from error


class WhipConnection:
    """One stream's connection.

    Args:
        gst: The module Gst.
        pipeline: With a `webrtcbin` called `NAME`; not playing yet.
        url, authorization: See `Signalling`.
        timeout_s: Connecting may take.
        silent_s: How long a server that reported once may report nothing (RTCP) before it counts
            as gone: GStreamer itself does not notice.
    """

    def __init__(
        self,
        gst: Any,
        pipeline: Any,
        *,
        url: str,
        authorization: str,
        timeout_s: float,
        silent_s: float,
    ) -> None:
        from gi.repository import GstSdp, GstWebRTC

        self._gst, self._sdp, self._webrtc = gst, GstSdp, GstWebRTC
        self._signalling, self._timeout_s = Signalling(url, authorization), timeout_s
        self._end = 0.0  # of connecting
        self._replies: list[tuple[Any, Any]] = []
        self._silent_s, self._heard = silent_s, math.inf
        self._bin = pipeline.get_by_name(NAME)
        self._needed = threading.Event()
        self._bin.connect("on-negotiation-needed", lambda *_: self._needed.set())

    def connect(self, called_off: Callable[[], bool]) -> None:
        """Offer the stream and wait until it goes out; the pipeline plays.

        Args:
            called_off: Whether nobody waits any more.

        Raises:
            WhipError: The server refuses, or no connection comes about.
        """
        self._called_off, self._end = called_off, time.monotonic() + self._timeout_s
        self._wait(self._needed.is_set, "the encoder gave nothing to offer")
        sendonly = self._webrtc.WebRTCRTPTransceiverDirection.SENDONLY
        self._bin.emit("get-transceiver", 0).set_property("direction", sendonly)
        offer = self._promised("create-offer", None, answer="offer")
        self._promised("set-local-description", offer)
        self._wait(
            lambda: int(self._bin.get_property("ice-gathering-state")) == COMPLETE,
            "the addresses of this machine could not be gathered",
        )
        mine = self._bin.get_property("local-description").sdp.as_text()
        left = max(self._end - time.monotonic(), POLL_S)
        result, message = self._sdp.SDPMessage.new_from_text(self._signalling.offer(mine, left))
        if result != self._sdp.SDPResult.OK or not message.medias_len():
            raise WhipError("its answer is no description of a session (SDP)")
        kind = self._webrtc.WebRTCSDPType.ANSWER
        answer = self._webrtc.WebRTCSessionDescription.new(kind, message)
        self._promised("set-remote-description", answer)
        self._wait(
            lambda: self._state() >= CONNECTED,
            "no connection came about: is UDP open between here and there?",
        )
        if self.lost():
            raise WhipError("the connection failed: addresses or keys (ICE, DTLS) do not fit")
        self._send_at_once()
        self._listen()

    def lost(self) -> str:
        """Why nothing arrives any more; empty while all is well."""
        state = self._state()
        if state > CONNECTED:
            return "the connection is lost" if state == DISCONNECTED else "the server ended it"
        if time.monotonic() - self._heard > self._silent_s:
            return f"the server reports nothing any more (waited {self._silent_s:g} s)"
        return ""

    def end(self) -> None:
        """Tell the server that the stream is over."""
        self._signalling.end()

    def _send_at_once(self) -> None:
        """Have nothing wait for its time: pictures are a start-up older than the pipeline's clock.

        Its own sinks keep time, which would hold every picture back for as long as that took.
        """
        found = self._bin.iterate_recurse()
        while (entry := found.next())[0] == self._gst.IteratorResult.OK:
            if entry[1].find_property("sync") is not None:
                entry[1].set_property("sync", False)

    def _listen(self) -> None:
        """Note when the server reports."""

        def heard(*_: Any) -> Any:
            self._heard = time.monotonic()
            return self._gst.PadProbeReturn.OK

        kinds = self._gst.PadProbeType.BUFFER | self._gst.PadProbeType.BUFFER_LIST
        for pad in self._bin.get_by_name("rtpbin").pads:
            if pad.get_name().startswith("recv_rtcp_sink"):
                pad.add_probe(kinds, heard)

    def _state(self) -> int:
        return int(self._bin.get_property("connection-state"))

    def _promised(self, signal: str, value: Any, answer: str = "") -> Any:
        replied = threading.Event()
        promise = self._gst.Promise.new_with_change_func(lambda *_: replied.set())
        self._bin.emit(signal, value, promise)
        self._wait(replied.is_set, f"{signal} was not answered")
        if promise.wait() != self._gst.PromiseResult.REPLIED:
            raise WhipError(f"{signal} did not work")
        reply = promise.get_reply()
        self._replies.append((promise, reply))  # PyGObject does not copy what is in them
        if reply is not None and reply.has_field("error"):
            raise WhipError(f"{signal}: {reply.get_value('error').message}")
        return reply.get_value(answer) if answer else None

    def _wait(self, done: Callable[[], bool], otherwise: str) -> None:
        while not done():
            if self._called_off():
                raise WhipError("it was called off")
            if time.monotonic() > self._end:
                raise WhipError(f"{otherwise} (waited {self._timeout_s:g} s)")
            time.sleep(POLL_S)
