"""How the preview page answers while others hold connections open and never end.

Opens connections that send nothing, half a request, a letter every half second, or take no answer,
and asks for /stats meanwhile:

    python benchmarks/page_half_open.py --connections 200 --seconds 5
"""

from __future__ import annotations

import argparse
import socket
import statistics
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

from adcvsr.runtime.live.sink import open_sink
from adcvsr.runtime.video.encoders import EncodeOptions

ASK_TIMEOUT_S = 3.0
MODES = {
    "nobody": None,
    "silent": b"",
    "half a request": b"GET /stats HTTP/1.1\r\nHost: 127",
    "a letter at a time": b"GET /stats HTTP/1.1\r\n",
    "takes no answer": b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
}


def hold(port: int, count: int, sent: bytes, drip: bool, ended: threading.Event) -> None:
    """Keep connections open, new ones for those that are closed, until the end."""
    held: list[socket.socket] = []
    while not ended.wait(0.02 if len(held) < count else 0.5):
        if len(held) < count:
            with suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), timeout=1)
                connection.sendall(sent)
                held.append(connection)
        elif drip:
            for connection in held:
                with suppress(OSError):
                    connection.sendall(b"a")
    for connection in held:
        connection.close()


def ask(port: int) -> float | None:
    """Seconds until /stats was answered; None where it was not."""
    began = time.monotonic()
    connection = HTTPConnection("127.0.0.1", port, timeout=ASK_TIMEOUT_S)
    try:
        connection.request("GET", "/stats")
        return time.monotonic() - began if connection.getresponse().read() else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def measure(mode: str, connections: int, seconds: float) -> None:
    """Print a line of the table."""
    with open_sink("http://127.0.0.1:8571?viewers=4", EncodeOptions()) as sink:
        port = sink.port  # type: ignore[attr-defined]
        sent, ended = MODES[mode], threading.Event()
        holder = threading.Thread(
            target=hold, args=(port, connections, sent or b"", "letter" in mode, ended)
        )
        if sent is not None:
            holder.start()
            ended.wait(connections * 0.02 + 1)
        answers = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            answers.append(ask(port))
            ended.wait(0.05)
        ended.set()
        if sent is not None:
            holder.join()
    good = [1000 * answer for answer in answers if answer is not None]
    median, worst = (statistics.median(good), max(good)) if good else (float("nan"),) * 2
    print(f"| {mode} | {len(good)} of {len(answers)} | {median:.0f} | {worst:.0f} |", flush=True)


def main() -> None:
    """Measure every mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    print(
        "| connections that are held | /stats answered | median ms | worst ms |\n|---|---|---|---|"
    )
    for mode in MODES:
        measure(mode, options.connections, options.seconds)


if __name__ == "__main__":
    main()
