"""The element `adcvsr` in real pipelines of GStreamer: bit for bit, resets, latency, faults."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from clip_networks import conv3d, upscaling
from few_colours import few
from foreign_networks import upscaler

from adcvsr.arrays import Levels
from adcvsr.export.adopt import adopt as adopting
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.colour import Colours
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime import gstreamer
from adcvsr.runtime.upscaler import Upscaler
from live_streams import SYSTEM_PYTHON, gst_lacks

PROGRAM = Path(__file__).parents[2] / "gst_element.py"
VERSION = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"


def why_not() -> str:
    """Why the element cannot be run here; empty where it can."""
    if lacks := gst_lacks():
        return lacks
    if subprocess.run([SYSTEM_PYTHON, "-c", VERSION], check=False).returncode:
        return "GStreamer's Python is of another version than the tests'"
    return ""


@pytest.fixture(scope="module", autouse=True)
def _it_can_run() -> None:
    if reason := why_not():
        pytest.skip(reason)


def environment() -> dict[str, str]:
    return {**os.environ, "VIRTUAL_ENV": sys.prefix, "GST_REGISTRY_FORK": "no"}


@pytest.fixture(scope="module")
def clip() -> Levels:
    return draw_clip(4, 32, 48)


@pytest.fixture(scope="module")
def made(clip: Levels, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, np.ndarray]:
    """What the element made of the clip, see `gst_element`."""
    folder = tmp_path_factory.mktemp("element")
    np.save(folder / "in.npy", clip)
    onnx.save_model(upscaler(scale=2), folder / "twice.onnx")
    onnx.save_model(upscaling(conv3d(before=1, after=1)), folder / "ahead.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adopting, "request_for", few)
        named: dict[str, Any] = {"licence": "CC0-1.0", "range": "0-1", "colour": "RGB"}
        for name, ahead in (("twice", 0), ("ahead", 2)):
            options = AdoptOptions(lookahead=ahead, **named)
            adopt(folder / f"{name}.onnx", folder / name, options, report=lambda line: None)
    files = [folder / name for name in ("in.npy", "out.npz", "twice", "ahead")]
    command = [SYSTEM_PYTHON, str(PROGRAM), *map(str, files)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert not done.returncode, done.stderr
    with np.load(folder / "out.npz") as stored:
        found = dict(stored)
    with Upscaler(str(folder / "twice"), backend="ort-cpu", threads=1) as upscaler_:
        found["twice expected"] = np.stack([upscaler_(frame).reshape(-1) for frame in clip])
    return found


@pytest.fixture(scope="module")
def passes(clip: Levels) -> tuple[np.ndarray, np.ndarray]:
    """What an `Upscaler` makes of the clip, and of the clip right behind it."""
    with Upscaler("nano", variant="fp32-onnx", threads=1) as upscaler:
        first, second = (
            np.stack([upscaler(frame).reshape(-1) for frame in clip]) for _ in range(2)
        )
    assert (first != second).any()
    return first, second


def test_it_equals_the_upscaler_bit_for_bit(
    made: Mapping[str, np.ndarray], passes: tuple[np.ndarray, np.ndarray]
) -> None:
    np.testing.assert_array_equal(made["plain"], np.concatenate(passes))


def test_sizes_are_the_networks(made: Mapping[str, np.ndarray]) -> None:
    """A network of twice the size, though most make four times."""
    both = np.concatenate([made["twice expected"]] * 2)
    assert both.shape == (8, 64 * 96 * 3)
    np.testing.assert_array_equal(made["twice"], both)


def test_nv12_enters_and_leaves_the_network_as_it_is(made: Mapping[str, np.ndarray]) -> None:
    data, size = made["pixels"], 48 * 32 * 3 // 2
    low, big = data[: 3 * size].reshape(3, 48, 48), data[3 * size :].reshape(3, 192, 192)
    bt601 = Colours(6, full_range=False, primaries=6, transfer=6)
    with Upscaler("nano", variant="fp32-onnx", threads=1) as upscaler:
        upscaler.open_yuv(YuvEnds(6, False))
        for both, made_both in zip(low, big, strict=True):
            picture = YuvPicture(both[:32], both[32:].reshape(16, 24, 2), bt601)
            expected = upscaler.upscale_yuv(picture)
            np.testing.assert_array_equal(made_both[:128], expected.luma)
            np.testing.assert_array_equal(made_both[128:].reshape(64, 96, 2), expected.chroma)


@pytest.mark.parametrize("how", ["flushing", "broken"])
def test_the_past_is_forgotten_at_a_flush_and_a_discontinuity(
    made: Mapping[str, np.ndarray], passes: tuple[np.ndarray, np.ndarray], how: str
) -> None:
    np.testing.assert_array_equal(made[how], np.concatenate([passes[0], passes[0]]))


def test_times_are_kept(made: Mapping[str, np.ndarray]) -> None:
    assert made["times"].tolist() == [1000 + index * 40_000_003 for index in range(4)]


def test_the_latency_query_is_answered(made: Mapping[str, np.ndarray]) -> None:
    assert 10**5 < int(made["latency measured"]) < 10**10
    assert int(made["latency"]) == 70_000_000


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("formats", "end"),
        ("model", "no bundle named 'no-such-model'"),
        ("ahead", "gives its pictures 2 frames late; the element gives one for each buffer"),
        ("policy", "policy=some; expected newest or every"),
        ("size", "can't handle caps"),
        ("mislabelled", "memory:NVMM: the previous element gives buffers of main memory"),
    ],
)
def test_faults_are_told(made: Mapping[str, np.ndarray], what: str, says: str) -> None:
    assert says in str(made[what])


def test_an_environment_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The element is found, and adcvsr is not."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    shutil.copy(Path(gstreamer.__path__[0]) / "python" / "gstadcvsr.py", tmp_path)
    code = "import gstadcvsr; gstadcvsr._add_package()"
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", code],
        env=env | {"VIRTUAL_ENV": "/no/such", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"GStreamer's {version} finds no adcvsr" in done.stderr
    assert "activate its environment or name its site-packages in PYTHONPATH" in done.stderr


def test_gst_inspect_shows_it(tmp_path: Path) -> None:
    if shutil.which("gst-inspect-1.0") is None:
        pytest.skip("no gst-inspect-1.0: apt-get install gstreamer1.0-tools")
    env = environment() | {
        "GST_PLUGIN_PATH": os.pathsep.join(
            [gstreamer.__path__[0], os.environ.get("GST_PLUGIN_PATH", "")]
        ),
        "GST_REGISTRY": str(tmp_path / "registry"),
    }
    done = subprocess.run(
        ["gst-inspect-1.0", "adcvsr"],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    loader = subprocess.run(
        ["gst-inspect-1.0", "python"], env=env, capture_output=True, text=True, check=False
    )
    if loader.returncode:
        pytest.skip("no gst-python loader: apt-get install gstreamer1.0-python3-plugin-loader")
    for line in ("AdcVSR super-resolution", "model  ", "backend  ", "precision  ", "policy  "):
        assert line in done.stdout
