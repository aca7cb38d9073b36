"""Another model or precision while the stream runs: by HTTP, and by hand in a browser.

The variant that is switched to gives the negative of the picture, so that it is seen in the pixels
which network made them; another one cannot be loaded.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import cli
from adcvsr.errors import ConfigError
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live import together
from adcvsr.runtime.live.live_report import LiveOptions, LiveReport
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.model_switch import ModelSwitch, SwitchRefusedError
from adcvsr.runtime.upscaler import Upscaler
from browser import Browser
from live_streams import free_port
from variant_bundle import add_variant, copy_of_nano, load

TOKEN = "0123456789abcdef"
NEGATIVE = {"model": "nano", "variant": "int8-ort"}
BROKEN = {"model": "nano", "variant": "fp16-onnx"}
FRAME = draw_clip(1, 64, 64)[0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = copy_of_nano(tmp_path_factory.mktemp("switch") / "nano")
    graph = load(path)
    (output,) = (each for each in graph.graph.output if "state" not in each.name)
    for node in graph.graph.node:
        node.output[:] = ["positive" if name == output.name else name for name in node.output]
    graph.graph.node.append(onnx.helper.make_node("BitwiseNot", ["positive"], [output.name]))
    add_variant(path, "int8-ort", graph)
    add_variant(path, "fp16-onnx", onnx.ModelProto())
    return path


class Page:
    """A live run with a preview page, in a thread of its own."""

    def __init__(self, run: LiveRun, token: str) -> None:
        self.run, self._token = run, token
        self.port: int = run.sink.port  # type: ignore[attr-defined]
        self.report: LiveReport | None = None
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        self.report = self.run.run()

    def ask(
        self, path: str, wish: object = None, *, token: bool = True, **headers: str
    ) -> tuple[int, str]:
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        if token and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        body = None
        if wish is not None:
            body = wish if isinstance(wish, bytes) else json.dumps(wish).encode()
            headers = {"Content-Type": "application/json"} | headers
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET" if wish is None else "POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def models(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("/models")[1])
        return found

    def wait(self, what: Callable[[], Any], seconds: float = 120) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.thread.is_alive():
            if found := what():
                return found
            time.sleep(0.05)
        pytest.fail(f"never true; {self.models()}")

    def end(self) -> LiveReport:
        self.run.source.stop.set()
        self.thread.join()
        assert self.report is not None
        return self.report


@contextmanager
def page(bundle: Path, monkeypatch: pytest.MonkeyPatch, token: str = "") -> Iterator[Page]:
    monkeypatch.setattr(together, "TICK_S", 0.1)
    with Upscaler(bundle, variant="fp32-onnx", threads=1) as upscaler:
        sink = f"http://127.0.0.1:{free_port()}" + (f"?token={token}" if token else "")
        options = LiveOptions(cut_reset=False)
        opened = Page(
            LiveRun(upscaler, "test://?size=64x64&fps=10", sink, options, offer=[]), token
        )
        try:
            opened.wait(lambda: opened.models().get("offers"))
            yield opened
        finally:
            opened.run.source.stop.set()
            opened.thread.join()


def test_a_switch_by_http_and_one_that_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with page(bundle, monkeypatch) as live:
        offers = live.models()["offers"]
        assert [each["variant"] for each in offers] == ["fp32-onnx", "fp16-onnx", "int8-ort"]
        live.wait(lambda: json.loads(live.ask("/stats")[1]).get("presented", 0) >= 3)
        status, text = live.ask("/models", NEGATIVE)
        assert status == 202, text
        assert json.loads(text)["loading"] == NEGATIVE
        live.wait(lambda: live.models()["running"] == NEGATIVE)
        live.wait(lambda: live.models()["loading"] is None)
        stats = live.wait(lambda: _after_switch(live))
        assert stats["resets"] == {"model": 1}
        assert stats["variant"] == "int8-ort"
        assert live.ask("/models", NEGATIVE) == (409, "nano int8-ort runs already\n")

        assert live.ask("/models", BROKEN)[0] == 202
        failed = live.wait(lambda: live.models()["failed"])
        assert failed["variant"] == "fp16-onnx"
        assert "cannot load variant 'fp16-onnx'" in failed["why"]
        assert live.models()["running"] == NEGATIVE
        before = json.loads(live.ask("/stats")[1])["presented"]
        live.wait(lambda: json.loads(live.ask("/stats")[1])["presented"] > before + 3)
        report = live.end()
    assert report.variant == "int8-ort"
    assert report.resets == {"model": 1}
    assert report.captured == report.presented + sum(report.drops.values())
    assert report.unfinished == 0
    assert any("switched to nano int8-ort" in note for note in report.notes)
    assert any("nano int8-ort runs on" in note for note in report.notes)


def _after_switch(live: Page) -> dict[str, Any] | None:
    stats: dict[str, Any] = json.loads(live.ask("/stats")[1])
    return stats if stats["resets"] else None


def test_only_the_page_may_switch(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with page(bundle, monkeypatch, TOKEN) as live:
        assert live.ask("/models", token=False)[0] == 403
        assert live.ask("/models", NEGATIVE, token=False)[0] == 403
        assert live.ask("/models", NEGATIVE, Origin="http://evil.example")[0] == 403
        assert live.ask("/models", NEGATIVE, Content_Type="text/plain")[0] == 403
        for wish in (b"no json", ["nano"], {"model": "nano"}, {"model": 1, "variant": 2}):
            assert live.ask("/models", wish)[0] == 400
        assert live.ask("/models", b" " * 5000)[0] == 400
        assert live.ask("/stats", NEGATIVE)[0] == 404
        path = {"model": str(bundle), "variant": "int8-ort"}
        status, text = live.ask("/models", path)
        assert status == 409
        assert "is not offered; choose from: nano fp32-onnx" in text
        assert live.models()["loading"] is None
        own = f"http://127.0.0.1:{live.port}"
        assert live.ask("/models", NEGATIVE, Origin=own)[0] == 202
        live.wait(lambda: live.models()["running"] == NEGATIVE)


def test_loopback_by_a_foreign_name_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the browser believes that the page's own name points here."""
    with page(bundle, monkeypatch) as live:
        status, _ = live.ask("/models", NEGATIVE, Host="evil.example", Origin="http://evil.example")
        assert status == 421
        assert live.models()["loading"] is None


class TestSwitch:
    """Without a run around it."""

    def make(self, upscaler: Upscaler, *bundles: Path) -> ModelSwitch:
        opened = [open_bundle(path) for path in bundles]
        self.notes: list[str] = []
        return ModelSwitch(upscaler, opened, size=lambda: (64, 64), note=self.notes.append)

    def test_pictures_are_of_the_network_that_was_chosen(
        self, bundle: Path, tmp_path: Path
    ) -> None:
        with (
            Upscaler(bundle, variant="int8-ort", threads=1) as negative,
            Upscaler(bundle, variant="fp32-onnx", threads=1) as upscaler,
        ):
            switch = self.make(upscaler, copy_of_nano(tmp_path / "second"))
            assert {each.model for each in switch.offers} == {"nano", "second"}
            first, expected = upscaler(FRAME), negative(FRAME)
            assert not switch.swap()
            switch.ask("nano", "int8-ort")
            with pytest.raises(SwitchRefusedError, match="nano int8-ort is being loaded"):
                switch.ask("second", "fp32-onnx")
            while not switch.swap():
                upscaler(FRAME)
            assert np.array_equal(upscaler(FRAME), expected)
            assert not np.array_equal(first, expected)
            switch.close()
            with pytest.raises(SwitchRefusedError, match="the run ends"):
                switch.ask("second", "fp32-onnx")

    def test_one_that_is_not_taken_any_more_is_freed(self, bundle: Path) -> None:
        with Upscaler(bundle, variant="fp32-onnx", threads=1) as upscaler:
            switch = self.make(upscaler)
            switch.ask("nano", "int8-ort")
            switch.close()
            assert not switch.swap()
            assert switch.state()["loading"] is None
            assert upscaler.session.variant.id == "fp32-onnx"
            assert self.notes == []

    def test_clip_networks_are_not_offered(self, bundle: Path, clip_bundle: Path) -> None:
        with Upscaler(bundle, variant="fp32-onnx", threads=1) as upscaler:
            assert {each.model for each in self.make(upscaler, clip_bundle).offers} == {"nano"}

    def test_two_of_a_name(self, bundle: Path, tmp_path: Path) -> None:
        other = copy_of_nano(tmp_path / "nano")
        with (
            Upscaler(bundle, variant="fp32-onnx", threads=1) as upscaler,
            pytest.raises(ConfigError, match="have the same name; rename a folder"),
        ):
            self.make(upscaler, other)


def test_offers_need_a_page() -> None:
    command = ["live", "--source", "test://", "--sink", "null://", "--offer", "nano"]
    result = CliRunner().invoke(cli, command)
    assert isinstance(result.exception, ConfigError)
    assert "'null://' has no place to choose a model" in str(result.exception)


def test_in_a_browser(bundle: Path, monkeypatch: pytest.MonkeyPatch, browser: Browser) -> None:
    choose = """
        const select = document.getElementById("model");
        select.value = VALUE;
        select.dispatchEvent(new Event("change"));
    """
    likeness = """
        const canvas = document.getElementById("canvas"), wipe = document.getElementById("wipe");
        if (canvas.width !== 256) return null;
        const [small, big] = [1000, 0].map(share => {
            wipe.value = share;
            wipe.dispatchEvent(new Event("input"));
            return canvas.getContext("2d").getImageData(8, 32, 240, 216).data;
        });
        let sum = 0;
        for (let at = 0; at < big.length; at += 4) sum += (small[at] - 128) * (big[at] - 128);
        return sum;
    """
    with page(bundle, monkeypatch) as live:
        browser.open(f"http://127.0.0.1:{live.port}/")
        browser.wait(likeness)
        assert browser.run(likeness) > 0
        names = "return [...document.getElementById('model').options].map(o => o.value).join()"
        browser.wait("return !document.getElementById('choice').hidden")
        assert browser.run(names) == "nano fp32-onnx,nano fp16-onnx,nano int8-ort"
        browser.run(choose.replace("VALUE", "'nano int8-ort'"))
        live.wait(lambda: browser.run(likeness) < 0)
        browser.wait("return !document.getElementById('model').disabled")
        assert browser.run("return document.getElementById('model').value") == "nano int8-ort"
        browser.wait("return document.getElementById('figures').innerText.includes('1 model')")
        browser.run(choose.replace("VALUE", "'nano fp16-onnx'"))
        said = browser.wait("return document.getElementById('switched').textContent")
        assert "nano fp16-onnx was not loaded: ONNX Runtime" in said
        browser.wait(
            "const select = document.getElementById('model');"
            "return !select.disabled && select.value === 'nano int8-ort'"
        )
        if folder := os.environ.get("ADCVSR_SCREENSHOTS"):
            browser.screenshot(Path(folder) / "switch.png")
        report = live.end()
    assert report.resets == {"model": 1}
