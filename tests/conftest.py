"""Fixtures every test may use: seeds, real data where it is at hand, videos made on the spot."""

from __future__ import annotations

import os

# Two test processes share two processors: more threads in each would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hundreds of programs are started: each would compile all it imports, a fifth of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import gc
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from filelock import FileLock

from adcvsr import redaction
from adcvsr.bundle import graph_trial, open_bundle
from adcvsr.files import CACHE_VARIABLE
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing import fastest_variant as variant_choice
from adcvsr.runtime.processing.backends import create_session
from browser import Browser, open_browser
from held_colours import hold_few_colours
from video_facts import VideoMaker

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ADCVSR_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real clips and images; set ADCVSR_TEST_DATA to have it elsewhere."""
    if not DATA.is_dir():
        pytest.skip(f"no real clips at '{DATA}' (set ADCVSR_TEST_DATA)")
    return DATA


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Fill a folder in the first test process that asks; the others wait and read it too."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, part = root / name, root / f"{name}.part"
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                part.mkdir()
                fill(part)
                part.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests of this process; take `browser`, which leaves it as it was."""
    from live_streams import free_port  # heavy

    with open_browser(free_port(), tmp_path_factory.mktemp("chrome")) as window:
        yield window


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A window with no page in it; every test's page has an address, so a storage, of its own."""
    yield chromium
    chromium.leave()


@pytest.fixture(scope="session")
def fp32_models(make_once: MakeOnce) -> Path:
    """A folder of bundles with `nano` as it is exported, before FP16 and INT8."""
    from variant_bundle import copy_of_nano  # onnx

    return make_once("fp32-models", lambda folder: copy_of_nano(folder / "nano"))


@pytest.fixture
def nano_in_fp32(fp32_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name `nano` leads to a bundle of nothing but `fp32-onnx`."""
    monkeypatch.setenv("ADCVSR_MODELS", str(fp32_models))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    np.random.seed(0)


CACHES = itertools.count()


def _as_fast(present: Sequence[str], open_variant: object) -> variant_choice.Measured:
    return variant_choice.Measured(dict.fromkeys(present, 1.0), calm=True)


@pytest.fixture(scope="session")
def measured_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which the shipped bundle's variants are all as fast."""
    folder = tmp_path_factory.mktemp("measured")
    if find_spec("onnxruntime"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CACHE_VARIABLE, str(folder))
            patch.setattr(variant_choice, "measure", _as_fast)
            create_session(open_bundle("nano"), backend="ort-cpu")
    return folder


def pytest_collection_finish() -> None:
    """What is imported by now stays: a collection of garbage, one a file read, skips it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """So does what the tests of a file imported and keep, as torch's exporter does."""
    if nextitem is not None and nextitem.path != item.path:
        pytest_collection_finish()


@pytest.fixture(autouse=True)
def _no_secret_is_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test before took for secret is not hidden in the words of this one."""
    monkeypatch.setattr(redaction, "_pieces", set())


@pytest.fixture(scope="session")
def graphs_tried(make_once: MakeOnce) -> Path:
    """The graphs that ran in a child, of all tests: each is tried once, not once a test."""
    return make_once("graphs-tried", lambda folder: None)


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(
    graphs_tried: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """What several tests share is made with a cache of its own; an export knows its graphs."""
    patch = pytest.MonkeyPatch()
    cache = _with_tried(tmp_path_factory.mktemp("cache"), graphs_tried)
    patch.setenv(CACHE_VARIABLE, str(cache))
    yield
    patch.undo()


def _with_tried(cache: Path, tried: Path) -> Path:
    cache.mkdir(exist_ok=True)
    with suppress(OSError):  # where links are not to be had, every test tries for itself
        (cache / graph_trial.FOLDER).symlink_to(tried, target_is_directory=True)
    return cache


@pytest.fixture(autouse=True)
def _no_machine_decides(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    measured_cache: Path,
    graphs_tried: Path,
) -> None:
    """A cache of each test's own, and variants that are all as fast: `auto` runs the exact one.

    Which one is faster on a busy machine is chance, and so is the student that has the time for a
    file: without --model it is nano. Programs that a test starts read the cache and the variable.
    """
    monkeypatch.setenv("ADCVSR_MODEL", "nano")
    cache = tmp_path_factory.getbasetemp() / f"cache-{next(CACHES)}"
    if any(measured_cache.iterdir()):
        shutil.copytree(measured_cache, cache)
    monkeypatch.setenv(CACHE_VARIABLE, str(_with_tried(cache, graphs_tried)))
    monkeypatch.setattr(variant_choice, "measure", _as_fast)


@pytest.fixture
def make_video(tmp_path: Path) -> VideoMaker:
    """Make a small video file with what the arguments ask for."""

    def make(
        name: str = "in.mp4",
        *,
        size: tuple[int, int] = (32, 24),
        pts: Sequence[int] = tuple(range(0, 8 * 512, 512)),
        time_base: Fraction = Fraction(1, 12800),
        rate: int = 25,
        rotation: int = 0,
        aspect: Fraction = Fraction(1),
        audio: bool = False,
        audio_encoder: str = "aac",
        subtitles: Sequence[str] = (),
        pixel_format: str = "yuv420p",
        encoder: str = "libx264",
        colour: tuple[int, int, int, int] = (1, 1, 1, 1),
        metadata: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        width, height = size
        frames = draw_clip(len(pts), height, width)
        scaler = VideoReformatter()  # a frame's own is set up anew for each, in milliseconds
        with av.open(str(path), "w") as container:
            container.metadata.update(metadata or {})
            stream = container.add_stream(encoder, rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            context = stream.codec_context
            context.time_base, context.sample_aspect_ratio = time_base, aspect
            context.colorspace, context.color_range = colour[0], colour[1]
            context.color_primaries, context.color_trc = colour[2], colour[3]
            if rotation:
                stream.set_display_rotation(rotation)
            sound = container.add_stream(audio_encoder, rate=16000) if audio else None
            text = container.add_mux_stream("mov_text") if subtitles else None
            if text is not None:
                text.time_base = Fraction(1, 1000)
                text.metadata["language"] = "eng"
            for image, time in zip(frames, pts, strict=True):
                frame = scaler.reformat(
                    av.VideoFrame.from_ndarray(image, format="rgb24"),
                    format=pixel_format,
                    dst_colorspace=1,
                    dst_color_range=colour[1],
                )
                frame.pts, frame.time_base = time, time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            if sound is not None:
                _add_tone(container, sound)
            for index, line in enumerate(subtitles):
                packet = av.Packet(len(line).to_bytes(2, "big") + line.encode())
                packet.pts = packet.dts = index * 100
                packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), text
                container.mux(packet)
        return path

    return make


def _add_tone(container: av.container.OutputContainer, stream: av.AudioStream) -> None:
    step = stream.codec_context.frame_size or 1024
    wave = np.sin(np.arange(step * 8) * 0.1).astype(np.float32)
    for start in range(0, len(wave), step):
        frame = av.AudioFrame.from_ndarray(
            wave[None, start : start + step], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


@pytest.fixture(scope="session")
def tiny_bundle(make_once: MakeOnce) -> Path:
    """An exported bundle with two levels, two states and a size multiple of 2; random weights."""
    pytest.importorskip("torch", reason="exporting a bundle needs torch")
    from small_bundles import write_tiny_bundle

    with pytest.MonkeyPatch.context() as patch:
        hold_few_colours(patch)  # random weights make no picture
        return make_once("tiny", write_tiny_bundle) / "tiny"


@pytest.fixture(scope="session")
def clip_bundle(make_once: MakeOnce) -> Path:
    """A bundle of a small network that is not causal, with windows of 7 frames sharing 2."""
    pytest.importorskip("torch", reason="making a clip bundle needs torch")
    from adcvsr.bundle.schema import Window
    from small_bundles import clip_network, write_clip_bundle

    def fill(folder: Path) -> None:
        write_clip_bundle(folder / "clip", clip_network(), Window(frames=7, overlap=2))

    with pytest.MonkeyPatch.context() as patch:
        hold_few_colours(patch)  # as above
        return make_once("clip", fill) / "clip"


@pytest.fixture
def few_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The named flat colours alone, where a test is not about colours."""
    hold_few_colours(monkeypatch)
