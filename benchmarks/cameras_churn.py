"""Cameras that come and go at one running program: memory, descriptors and threads stay.

    python benchmarks/cameras_churn.py --times 100      # one camera, added and removed
    python benchmarks/cameras_churn.py --minutes 60     # a soak: cameras of many kinds, at random

Three cameras run all the time. Memory and descriptors are those of the process, as Linux has them;
the bar is a growth of at most 5 % from a quarter of the way to the end, and no descriptor more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import socket
import statistics
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

LARGEST_GROWTH = 1.05
STAYING = ("test://?size=160x90&fps=10", "test://?size=160x90&fps=5", "test://?size=96x64&fps=15")
COMING = (
    *("test://?size=160x90&fps=10", "test://?size=128x96&fps=20", "test://?size=160x90&fps=1"),
    "rtsp://127.0.0.1:9/stream?timeout=1",
    "udp://127.0.0.1:9?timeout=1",
)


class Service:
    """A running `adcvsr live --page`."""

    def __init__(self, model: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.token = secrets.token_hex(16)
        streams = [f"--stream=s{i}={uri},sink=null://" for i, uri in enumerate(STAYING)]
        command = [sys.executable, "-m", "adcvsr", "live", *streams, "--model", model, "-q"]
        command += ["--page", f"http://127.0.0.1:{self.port}", "--json", "--oversubscribe"]
        environment = {**os.environ, "ADCVSR_PAGE_TOKEN": self.token}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def ask(self, method: str, path: str, wish: Any = None) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = None if wish is None else json.dumps(wish)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def names(self) -> dict[str, int]:
        """Streams, with their pictures so far."""
        listed = json.loads(self.ask("GET", "/streams")[1])
        return {each["name"]: each["presented"] for each in listed["streams"]}

    def held(self) -> dict[str, int]:
        """Memory in bytes, descriptors, threads."""
        root = Path(f"/proc/{self.process.pid}")
        status = dict(
            line.split(":", 1) for line in (root / "status").read_text().splitlines() if ":" in line
        )
        return {
            "rss": int(status["VmRSS"].split()[0]) << 10,
            "descriptors": len(list((root / "fd").iterdir())),
            "threads": int(status["Threads"]),
        }


def wait(until: Any, seconds: float = 120) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while True:
        try:
            if until():
                return
        except OSError:
            pass  # it does not listen yet
        if time.monotonic() > end:
            raise SystemExit("it did not come to it in time")
        time.sleep(0.02)


def come_and_go(service: Service, times: int) -> list[dict[str, int]]:
    """One camera is added, gives a picture and is removed, again and again."""
    found = []
    for _ in range(times):
        status, body = service.ask("POST", "/streams", new("guest", COMING[0]))
        assert status == 201, body
        wait(lambda: service.names().get("guest"))
        service.ask("DELETE", "/streams/guest")
        wait(lambda: "guest" not in service.names())
        found.append(service.held())
    return found


def soak(service: Service, minutes: float, seed: int) -> list[dict[str, int]]:
    """Cameras of all kinds come, go and are reset at random moments."""
    draw, found, number = random.Random(seed), [], 0
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        guests = [name for name in service.names() if name.startswith("guest")]
        if len(guests) < 3 and draw.random() < 0.5:
            number += 1
            service.ask("POST", "/streams", new(f"guest{number}", draw.choice(COMING)))
        elif guests:
            name = draw.choice(guests)
            if draw.random() < 0.5:
                service.ask("DELETE", f"/streams/{name}")
            else:
                service.ask("POST", f"/streams/{name}/reset", {})
        time.sleep(draw.uniform(0.05, 2.0))
        if not guests:
            found.append(service.held())
    return found


def new(name: str, source: str) -> dict[str, Any]:
    """A stream to add."""
    return {"name": name, "source": source, "sinks": ["null://"]}


def main() -> None:
    """Run and print; exit 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    service = Service(chosen.model)
    try:
        wait(lambda: len(service.names()) == len(STAYING))
        wait(lambda: all(service.names().values()))
        began = service.held()
        if chosen.minutes:
            found = soak(service, chosen.minutes, chosen.seed)
        else:
            found = come_and_go(service, chosen.times)
    finally:
        service.process.terminate()
        output, _ = service.process.communicate(timeout=120)
    report = json.loads(output)
    lost = sum(sum(each["drops"].values()) for each in report["streams"].values())
    quarter = max(len(found) // 4, 1)
    early, late = (
        statistics.median(each["rss"] for each in part)
        for part in (found[quarter : 2 * quarter], found[-quarter:])
    )
    early_fds = max(each["descriptors"] for each in found[:quarter])
    late_fds = max(each["descriptors"] for each in found[-quarter:])
    print(f"began with {began}; {len(found)} looks, the last {found[-1]}")
    print(f"memory {early / 1e6:.1f} -> {late / 1e6:.1f} MB: {late / early:.3f} times")
    steps = range(0, len(found), max(len(found) // 12, 1))
    print(f"on the way: {[round(found[step]['rss'] / 1e6, 1) for step in steps]} MB")
    print(f"descriptors {early_fds} -> {late_fds}; batches {report['batches']}; {lost} drops")
    print(f"exit status {service.process.returncode}, failed {report['failed']}")
    sys.exit(late > LARGEST_GROWTH * early or late_fds > early_fds)


if __name__ == "__main__":
    main()
