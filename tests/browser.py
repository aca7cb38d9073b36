"""A headless Chromium driven by chromedriver's own protocol (W3C WebDriver), for tests of pages."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

STOP = """
    const at = document.activeElement;
    if (!at || at === document.body || window.stops.has(at)) return null;
    window.stops.add(at);
    const style = getComputedStyle(at);
    return {what: at.outerHTML.slice(0, 120),
            seen: style.outlineStyle !== "none" || style.boxShadow !== "none"};
"""


class Browser:
    """One window."""

    def __init__(self, port: int, folder: Path, size: tuple[int, int]) -> None:
        self._base = f"http://127.0.0.1:{port}"
        flags = [*FLAGS, f"--user-data-dir={folder}", "--window-size={},{}".format(*size)]
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": flags}}
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/session/{answer['sessionId']}"

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """The value of a JavaScript function's body."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script: str, seconds: float = 60) -> Any:
        """Wait until a function's body gives something true; return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.1)
        pytest.fail(
            f"never true: {script}; the page says: {self.run('return document.body.innerText')}"
        )

    def set_colour_scheme(self, name: str) -> None:
        """What the page takes the system to prefer: `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": name}
        wanted = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [feature]}}
        self._ask("POST", "/goog/cdp/execute", wanted)

    def set_size(self, width: int, height: int) -> None:
        """Size of the page in its own pixels; Chromium's windows are never as narrow as a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        wanted = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._ask("POST", "/goog/cdp/execute", wanted)

    def read_aloud(self) -> list[tuple[str, str]]:
        """Role and name of everything a screen reader meets, in reading order."""
        self._ask("POST", "/goog/cdp/execute", {"cmd": "Accessibility.enable", "params": {}})
        wanted = {"cmd": "Accessibility.getFullAXTree", "params": {}}
        nodes = self._ask("POST", "/goog/cdp/execute", wanted)["nodes"]
        by_id = {node["nodeId"]: node for node in nodes}
        told, todo = [], [nodes[0]["nodeId"]]
        while todo:
            node = by_id[todo.pop()]
            todo += [each for each in reversed(node.get("childIds", [])) if each in by_id]
            if not node["ignored"]:
                told.append(tuple(node.get(key, {}).get("value", "") for key in ("role", "name")))
        return told

    def tab_stops(self, most: int = 200) -> list[dict[str, Any]]:
        """What the Tab key reaches from the page's beginning, and whether one sees that it does."""
        self.run("document.activeElement.blur(); window.stops = new Set()")
        stops = []
        for _ in range(most):
            for kind in ("rawKeyDown", "keyUp"):
                key = {"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
                wanted = {"cmd": "Input.dispatchKeyEvent", "params": key}
                self._ask("POST", "/goog/cdp/execute", wanted)
            stop = self.run(STOP)
            if stop is None:
                break
            stops.append(stop)
        return stops

    def leave(self) -> None:
        """Close the page's connections, and forget what was emulated."""
        self.open("about:blank")
        for cmd in ("Emulation.clearDeviceMetricsOverride", "Emulation.setEmulatedMedia"):
            self._ask("POST", "/goog/cdp/execute", {"cmd": cmd, "params": {}})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def close(self) -> None:
        self._ask("DELETE", "")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]


@contextmanager
def open_browser(port: int, folder: Path, size: tuple[int, int] = (900, 900)) -> Iterator[Browser]:
    """Start Chromium; skips where it is not there."""
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver: apt-get install chromium chromium-driver")
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL)
    browser = None
    try:
        for _ in range(200):
            try:
                urlopen(f"http://127.0.0.1:{port}/status", timeout=5).close()
                break
            except URLError:
                time.sleep(0.1)
        browser = Browser(port, folder, size)
        yield browser
    finally:
        if browser is not None:
            browser.close()
        process.terminate()
        process.wait()
