"""The pages hold what axe-core demands, on phone and desktop, light and dark: nothing serious.

axe-core (MPL-2.0) is not kept here: `npm install --no-save axe-core`, or $ADCVSR_AXE leads to its
axe.min.js. $ADCVSR_SCREENSHOTS names a folder for pictures of every page, to look at.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_runs import LiveRuns
from adcvsr.runtime.live.sink import FinishedFrame, open_sink
from adcvsr.runtime.live.stream_config import parse_stream
from adcvsr.runtime.live.stream_service import StreamService
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from browser import Browser
from live_streams import free_port
from video_facts import VideoMaker

REPOSITORY = Path(__file__).resolve().parents[2]
AXE = Path(os.environ.get("ADCVSR_AXE", REPOSITORY / "node_modules/axe-core/axe.min.js"))
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
RUN = """
    window.found = null;
    axe.run({resultTypes: ["violations"]}).then(
        result => { window.found = {violations: result.violations}; },
        error => { window.found = {violations: [], failed: String(error)}; });
"""
SERIOUS = ("serious", "critical")
CONTROLS = {"button", "link", "slider", "textbox", "searchbox", "combobox", "checkbox", "radio"}
CONTROLS |= {"switch", "spinbutton", "menuitem", "tab", "DisclosureTriangle"}
REACHED = """
    const all = document.querySelectorAll("a[href], button, input, select, textarea, summary");
    return [...all].filter(e => !e.disabled && e.tabIndex >= 0 && e.checkVisibility()).length;
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: npm install --no-save axe-core"),
]


def look_at(browser: Browser, url: str, name: str, ready: str = "return true") -> None:
    """Have axe look at a page in both sizes and schemes."""
    found = []
    for size, pixels in SIZES.items():
        for scheme in ("light", "dark"):
            browser.set_size(*pixels)
            browser.set_colour_scheme(scheme)
            browser.open(url)
            if url.startswith("file:"):  # the docs site keeps the scheme it was first seen in
                browser.run("localStorage.clear()")
                browser.open(url)
            browser.wait(ready)
            if folder := os.environ.get("ADCVSR_SCREENSHOTS"):
                browser.screenshot(Path(folder) / f"{name}-{size}-{scheme}.png")
            browser.run(AXE.read_text(encoding="utf-8") + RUN)
            answer = browser.wait("return window.found")
            assert "failed" not in answer, answer
            for each in answer["violations"]:
                if each["impact"] in SERIOUS:
                    nodes = [node["html"][:120] for node in each["nodes"][:3]]
                    found.append((size, scheme, each["id"], each["help"], nodes))
            wider = (
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert browser.run(wider) <= 0, f"{name} is wider than a {size}"
    assert found == []
    listen_to(browser, name)


def listen_to(browser: Browser, name: str) -> None:
    """What a screen reader is told has names and headings, and the keyboard reaches all of it."""
    told = browser.read_aloud()
    if folder := os.environ.get("ADCVSR_SCREENSHOTS"):
        lines = [f"{role}: {text}" for role, text in told if text.strip() and "Box" not in role]
        Path(folder, f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    assert told[0][0] == "RootWebArea"
    assert told[0][1], "the page has no title"
    assert any(role == "heading" for role, _ in told)
    assert [role for role, text in told if role in CONTROLS and not text.strip()] == []
    if name.startswith("site-"):
        return  # the keyboard's way through the theme is the theme's own
    stops = browser.tab_stops()
    assert len(stops) >= browser.run(REACHED), stops
    assert [stop["what"] for stop in stops if not stop["seen"]] == []


@contextmanager
def in_turn(work: Callable[[], Any], pause_s: float) -> Iterator[None]:
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(pause_s):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_the_page_of_a_stream(browser: Browser) -> None:
    small = draw_clip(1, 48, 64)[0]
    frame = FinishedFrame(small, small.repeat(4, 0).repeat(4, 1), 1.0, Fraction(25), SDR_BT709)
    sink: Any = open_sink(f"http://127.0.0.1:{free_port()}", EncodeOptions())
    url = f"http://127.0.0.1:{sink.port}/"
    try:
        browser.set_size(*SIZES["phone"])
        look_at(browser, url, "page-before")
        assert "waiting for the first picture" in browser.run("return document.body.innerText")
        state = "return document.getElementById('state').textContent"
        browser.wait(f"{state} === 'waiting for a picture'")  # "live" would be said of nothing
        shade = "return getComputedStyle(document.getElementById('view')).backgroundColor"
        assert browser.run(shade) != "rgb(0, 0, 0)"
        with in_turn(lambda: sink.present(sink.encode(frame)), 0.05):
            look_at(browser, url, "page", "return document.getElementById('canvas').width === 256")
            assert "waiting" not in browser.run("return document.body.innerText")
    finally:
        sink.close()


def test_the_wall(browser: Browser) -> None:
    options = LiveOptions(cut_reset=False)
    plans = [
        parse_stream(f"{name}=test://?size=64x64&fps=10,sink=null://", options)
        for name in ("door", "yard")
    ]
    service = StreamService(f"http://127.0.0.1:{free_port()}", options, None)
    with Upscaler("nano", variant="fp32-onnx", backend="ort-cpu", threads=1) as upscaler:
        runs = LiveRuns(upscaler, plans, stays=True, beside=service.beside, looked=service.look)
        service.serve(runs, plans)
        thread = threading.Thread(target=runs.run)
        thread.start()
        try:
            ready = "return document.querySelectorAll('img[src]').length === 2"
            look_at(browser, f"http://127.0.0.1:{service.port}/", "wall", ready)
        finally:
            service._asked.put(_interrupt)
            thread.join(60)
            service.close()


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_the_page_of_a_profile(browser: Browser, make_video: VideoMaker, tmp_path: Path) -> None:
    clip = make_video(size=(64, 48), pts=tuple(range(0, 12 * 512, 512)))
    page = tmp_path / "report.html"
    arguments = ["profile", "nano", "--clips", str(clip), "--variant", "fp32,int8", "-o", str(page)]
    done = CliRunner().invoke(
        cli, [*arguments, "--drift-frames", "24", "--duration", "0.5", "--no-statement"]
    )
    assert done.exit_code == 0, done.output
    look_at(browser, page.as_uri(), "profile")


def test_the_page_of_a_plan(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "board.html"
    sources = ["--source", "320x180@30", "--source", "640x360@25"]
    done = CliRunner().invoke(
        cli, ["plan", "nano", "--target", "orin-nx", *sources, "-o", str(page)]
    )
    assert done.exit_code in (0, 3), done.output
    look_at(browser, page.as_uri(), "plan")


def test_the_docs_site(browser: Browser) -> None:
    site = REPOSITORY / "build/site"
    if not site.is_dir():
        pytest.skip("no docs site: mkdocs build --strict")
    for name in ("index", "tutorials/first-file", "reference/commands/live", "metrics"):
        look_at(browser, (site / f"{name}.html").as_uri(), f"site-{name.replace('/', '-')}")
