"""What the element `adcvsr` makes of frames, in the system's Python, which has PyGObject.

    VIRTUAL_ENV=... /usr/bin/python3 gst_element.py FRAMES.npy OUT.npz TWICE AHEAD

FRAMES (T, H, W, 3) go through it as RGB: all of them, then all again after a flush, then all again
after a buffer that is flagged as a discontinuity; then all through the bundle TWICE, of twice the
size. OUT holds the pictures and times of each pass, the latency the element tells, and what it says
of things that are wrong, a bundle AHEAD among them that looks ahead.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

ELEMENT = Path(__file__).parents[1] / "runtime" / "gstreamer" / "python" / "gstadcvsr.py"
spec = importlib.util.spec_from_file_location("gstadcvsr", ELEMENT)
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module._add_package()

import numpy as np  # noqa: E402

name, rank, kind = module.__gstelementfactory__
assert Gst.Element.register(None, name, rank, kind)
clip = np.load(sys.argv[1])
count, height, width, _ = clip.shape
found: dict[str, object] = {}


def run(pipeline: str, expect: int) -> tuple[list[np.ndarray], list[int]]:
    """Push the clip once; take what comes."""
    pictures, times = [], []
    made = Gst.parse_launch(pipeline)
    begin, end = made.get_by_name("begin"), made.get_by_name("end")
    made.set_state(Gst.State.PLAYING)
    for index in range(count):
        push(begin, index)
    for _ in range(expect):
        sample = end.emit("try-pull-sample", 30 * Gst.SECOND)
        assert sample is not None, made.get_bus().pop_filtered(Gst.MessageType.ERROR).parse_error()
        pictures.append(sample.get_buffer().extract_dup(0, sample.get_buffer().get_size()))
        times.append(sample.get_buffer().pts)
    query = Gst.Query.new_latency()
    assert end.get_static_pad("sink").get_peer().query(query)
    found["latency"] = query.parse_latency()[1]
    if "flushing" in pipeline:
        begin.send_event(Gst.Event.new_flush_start())
        begin.send_event(Gst.Event.new_flush_stop(True))
    for index in range(count):
        push(begin, index, discont=index == 0 and "broken" in pipeline)
    for _ in range(expect):
        sample = end.emit("try-pull-sample", 30 * Gst.SECOND)
        pictures.append(sample.get_buffer().extract_dup(0, sample.get_buffer().get_size()))
    made.set_state(Gst.State.NULL)
    return pictures, times


def push(begin: Gst.Element, index: int, *, discont: bool = False) -> None:
    rows = np.zeros((height, -(-3 * width // 4) * 4), np.uint8)
    rows[:, : 3 * width] = clip[index].reshape(height, -1)
    buffer = Gst.Buffer.new_wrapped(rows.tobytes())
    buffer.pts = 1000 + index * 40_000_003
    if discont:
        buffer.set_flags(Gst.BufferFlags.DISCONT)
    begin.emit("push-buffer", buffer)


def failure(pipeline: str) -> str:
    """What a pipeline says that does not run."""
    try:
        made = Gst.parse_launch(pipeline)
    except Exception as error:
        return str(error)
    made.set_state(Gst.State.PLAYING)
    kinds = Gst.MessageType.ERROR | Gst.MessageType.EOS
    message = made.get_bus().timed_pop_filtered(30 * Gst.SECOND, kinds)
    said = str(message.parse_error()[0].message) if message.type == Gst.MessageType.ERROR else "end"
    made.set_state(Gst.State.NULL)
    return said


def mislabelled() -> str:
    """What the element says of main memory whose caps tell of the GPU's."""
    caps = "video/x-raw(memory:NVMM),format=NV12,width=32,height=16,framerate=25/1"
    made = Gst.parse_launch(
        f"appsrc name=begin format=time caps={caps} ! {element} gpu-memory=true ! fakesink"
    )
    made.set_state(Gst.State.PLAYING)
    made.get_by_name("begin").emit("push-buffer", Gst.Buffer.new_wrapped(bytes(32 * 16 * 3 // 2)))
    message = made.get_bus().timed_pop_filtered(30 * Gst.SECOND, Gst.MessageType.ERROR)
    made.set_state(Gst.State.NULL)
    return str(message.parse_error()[0].message)


def yuv_passes() -> np.ndarray:
    """NV12 in and out: luma of each frame, then luma of each picture."""
    made = Gst.parse_launch(
        f"videotestsrc num-buffers=3 pattern=ball ! video/x-raw,format=NV12,width=48,height=32 ! "
        f"tee name=t ! queue ! {element} ! appsink name=end sync=false "
        "t. ! queue ! appsink name=low sync=false"
    )
    made.set_state(Gst.State.PLAYING)
    taken = []
    for name in ("low", "end"):
        for _ in range(3):
            sample = made.get_by_name(name).emit("try-pull-sample", 30 * Gst.SECOND)
            data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
            taken.append(np.frombuffer(data, np.uint8))
    made.set_state(Gst.State.NULL)
    return np.concatenate(taken)


element = "adcvsr model=nano precision=fp32-onnx threads=1 policy=every"
caps = f"video/x-raw,format=RGB,width={width},height={height},framerate=25/1"
ends = f"appsrc name=begin format=time caps={caps} ! {element} {{}} ! appsink name=end sync=false"
for how in ("plain", "flushing", "broken"):
    pictures, times = run(ends.format(f"name={how}"), count)
    found[how] = np.stack([np.frombuffer(each, np.uint8) for each in pictures])
    found["times"] = times
found["latency measured"] = found["latency"]
twice = ends.replace("model=nano", f"model={sys.argv[3]}").format("name=plain")
found["twice"] = np.stack([np.frombuffer(each, np.uint8) for each in run(twice, count)[0]])
run(ends.format("name=plain latency=70"), count)
found["pixels"] = yuv_passes()
test = "videotestsrc num-buffers=3 ! video/x-raw,width=32,height=16"
for label, pipeline in {
    "formats": f"{test},format=NV12 ! {element} ! video/x-raw,format=I420,width=128,height=64 ! "
    "fakesink",
    "model": f"{test} ! adcvsr model=no-such-model ! fakesink",
    "ahead": f"{test} ! adcvsr model={sys.argv[4]} ! fakesink",
    "policy": f"{test} ! adcvsr policy=some ! fakesink",
    "size": f"{test} ! {element} ! video/x-raw,width=100 ! fakesink",
}.items():
    found[label] = failure(pipeline)
found["mislabelled"] = mislabelled()
np.savez(sys.argv[2], **found)
