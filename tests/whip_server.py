"""A WHIP server of aiortc's, which shares nothing with GStreamer: takes one stream at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import av
import pytest

from adcvsr.arrays import Levels
from live_streams import free_port


class WhipServer:
    """Runs in a thread of its own while it is a context.

    Args:
        token: Asked for; empty for none.
        answer: Status, headers and body of every answer, in place of taking the stream.
    """

    def __init__(
        self, *, token: str = "", answer: tuple[str, dict[str, str], str] | None = None
    ) -> None:
        self.port = free_port()
        self.address = f"whip://127.0.0.1:{self.port}/live/whip"
        self.requests: list[str] = []
        """First line of each."""
        self.pictures: list[tuple[float, Levels]] = []
        """When each was decoded, by `time.time`, and (H, W, 3) uint8 RGB."""
        self.codec = ""
        self.came = threading.Event()
        """Set with the first picture."""
        self.on_picture: Callable[[float, Levels], None] | None = None
        """Takes pictures in place of `pictures`."""
        self._token, self._answer = token, answer
        self._peer: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="whip-server")

    def __enter__(self) -> WhipServer:
        self._thread.start()
        self._in_loop(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def hang_up(self) -> None:
        """End the connection as a server does that is restarted."""
        self._in_loop(self._close_peer())

    def wait_for(self, count: int, seconds: float = 20) -> None:
        """Wait for so many pictures."""
        end = time.monotonic() + seconds
        while len(self.pictures) < count:
            if time.monotonic() > end:
                pytest.fail(f"{len(self.pictures)} of {count} pictures came in {seconds:g} s")
            time.sleep(0.02)

    def _in_loop(self, work: Any) -> None:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(20)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _end(self) -> None:
        self._server.close()
        await self._close_peer()
        left = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _close_peer(self) -> None:
        if self._peer is not None:
            peer, self._peer = self._peer, None
            await peer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        self.requests.append(first)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        status, more, text = "200 OK", {}, ""
        if self._answer is not None:
            status, more, text = self._answer
        elif self._token and headers.get("authorization") != f"Bearer {self._token}":
            status, text = "401 Unauthorized", "who are you?"
        elif first.startswith("POST"):
            status, more = "201 Created", {"Location": "/resource/1"}
            text = await self._take(body)
        elif first.startswith("DELETE"):
            await self._close_peer()
        data = text.encode()
        more |= {"Content-Type": "application/sdp", "Content-Length": str(len(data))}
        fields = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        writer.write(f"HTTP/1.1 {status}\r\n{fields}Connection: close\r\n\r\n".encode() + data)
        await writer.drain()
        writer.close()

    async def _take(self, offer: str) -> str:
        from aiortc import RTCPeerConnection, RTCSessionDescription

        await self._close_peer()
        peer = self._peer = RTCPeerConnection()

        @peer.on("track")
        def on_track(track: Any) -> None:
            self._receiving = asyncio.ensure_future(self._receive(track))

        # aiortc as client offers ECDSA's ciphers alone, and GStreamer's certificate is RSA: as the
        # passive side, which an answer may choose to be, it takes both.
        offer = offer.replace("a=setup:actpass", "a=setup:active")
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return str(peer.localDescription.sdp)

    async def _receive(self, track: Any) -> None:
        from aiortc.mediastreams import MediaStreamError

        while True:
            try:
                frame: av.VideoFrame = await track.recv()
            except MediaStreamError:
                return
            now, rgb = time.time(), frame.to_ndarray(format="rgb24")
            if self.on_picture is None:
                self.pictures.append((now, rgb))
            else:
                self.on_picture(now, rgb)
            self.came.set()
