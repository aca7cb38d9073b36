"""The element `adcvsr`: larger video in anybody's pipeline, four times or as a network makes it.

    export GST_PLUGIN_PATH=$(python -c 'import adcvsr.runtime.gstreamer as g; print(g.__path__[0])')
    gst-launch-1.0 videotestsrc ! video/x-raw,width=320,height=180 ! adcvsr ! videoconvert ! \
        autovideosink

gst-python's loader finds this file and runs it in the system's Python, which must be of the same
version as the one that adcvsr is installed for. Nothing of adcvsr is imported before a pipeline
starts: what is missing then is an error of the element, in a line.
"""

from __future__ import annotations

import os
import site
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, GObject, Gst, GstBase, GstVideo  # noqa: E402

Gst.init(None)

CAPS = "video/x-raw,format=(string){RGB,NV12,I420,BGRx,RGBx},width=[1,max],height=[1,max]"

MOST = 2147483647
"""The largest number caps hold."""

WARM_UP = 2
"""Frames the network is given before the first: the first one allocates, the last one is timed."""

READABLE = GObject.ParamFlags.READWRITE


PROPERTIES: dict[str, tuple[Any, ...]] = {
    "model": (str, "model", "A name from 'adcvsr models', or a bundle", "nano-camera", READABLE),
    "backend": (str, "backend", "What runs it; auto takes the best", "auto", READABLE),
    "precision": (str, "precision", "fp32, int8, ..., or a variant's id", "auto", READABLE),
    "policy": (
        str,
        "policy",
        "newest: frames that the sink says are too late are dropped; every: none is",
        "newest",
        READABLE,
    ),
    "latency": (
        GObject.TYPE_UINT,
        "latency",
        "Milliseconds a frame takes, as the pipeline is told; 0: as measured at the start",
        0,
        60_000,
        0,
        READABLE,
    ),
    "pixels": (
        str,
        "pixels",
        "auto: NV12 and I420 enter the network as they are where it can; rgb; yuv: or an error",
        "auto",
        READABLE,
    ),
    "cut-reset": (bool, "cut-reset", "Start again at scene cuts", True, READABLE),
    "threads": (GObject.TYPE_UINT, "threads", "Of the network; 0: all", 0, 1024, 0, READABLE),
}
"""Name, then type, nick, what it is, range where there is one, default."""


def _add_package() -> None:
    """Let `adcvsr` be imported, from the environment this file or the shell is in.

    Raises:
        ImportError: It is not to be found.
    """
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    beside = Path(__file__).resolve().parents[4]
    folders = [beside] if (beside / "adcvsr").is_dir() else []
    if environment := os.environ.get("VIRTUAL_ENV"):
        folders.append(Path(environment) / "lib" / version / "site-packages")
    for folder in folders:
        if folder.is_dir():
            site.addsitedir(str(folder))
    try:
        import adcvsr.errors  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"GStreamer's {version} finds no adcvsr ({error}): install it for that version, and "
            "activate its environment or name its site-packages in PYTHONPATH"
        ) from error


class AdcvsrElement(GstBase.BaseTransform):  # type: ignore[misc]
    """One stream through a causal network; the past is forgotten at discontinuities and flushes."""

    __gtype_name__ = "AdcvsrElement"
    __gstmetadata__ = (
        "AdcVSR super-resolution",
        "Filter/Effect/Video",
        "Makes video four times larger, or as many times as the model does, with a causal network",
        "adcvsr",
    )
    __gsttemplates__ = tuple(
        Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(CAPS))
        for name, direction in (("sink", Gst.PadDirection.SINK), ("src", Gst.PadDirection.SRC))
    )
    __gproperties__ = PROPERTIES

    def __init__(self) -> None:
        super().__init__()
        self._values = {name: entry[-2] for name, entry in PROPERTIES.items()}
        self._upscaler: Any = None
        self._watch: Any = None
        self._pixels: Any = None
        self._measured_ns = 0
        self._scale: tuple[str, int] | None = None  # of a model by its name
        self.set_in_place(False)

    def do_get_property(self, wanted: Any) -> Any:
        """A property's value."""
        return self._values[wanted.name]

    def do_set_property(self, wanted: Any, value: Any) -> None:
        """Take a property's value; the network's are read when the pipeline starts."""
        self._values[wanted.name] = value

    def do_start(self) -> bool:
        """Load the network."""
        try:
            self._load()
        except Exception as error:  # an element reports what happens, whatever it is
            return self._failed(error)
        # Not `do_query`, a name that two classes above have.
        answer, element = type(self)._query, weakref.ref(self)

        def query(_pad: Any, _parent: Any, asked: Any) -> bool:
            found = element()
            return found is not None and answer(found, asked)

        self.get_static_pad("src").set_query_function_full(query)
        return True

    def _load(self) -> None:
        _add_package()
        from av.video.reformatter import VideoReformatter

        from adcvsr.errors import ClipNetworkError, ConfigError
        from adcvsr.runtime.live.pixels import LivePixels
        from adcvsr.runtime.processing.cut_reset import SceneWatch
        from adcvsr.runtime.upscaler import Upscaler

        policy, precision = self._values["policy"], self._values["precision"]
        if policy not in ("newest", "every"):
            raise ConfigError(f"policy={policy}; expected newest or every")
        if (pixels := self._values["pixels"]) not in ("auto", "rgb", "yuv"):
            raise ConfigError(f"pixels={pixels}; expected auto, rgb or yuv")
        self.set_qos_enabled(policy == "newest")
        self._upscaler = Upscaler(
            self._values["model"],
            backend=self._values["backend"],
            variant=None if precision in ("auto", "", None) else precision,
            threads=self._values["threads"],
        )
        bundle = self._upscaler.bundle
        if bundle.kind == "clip":
            raise ClipNetworkError(
                f"model={self._values['model']} is not causal: it needs frames of the future; "
                "choose a causal one such as nano"
            )
        if bundle.delay:
            raise ClipNetworkError(
                f"model={self._values['model']} gives its pictures {bundle.delay} frames late; the "
                "element gives one for each buffer. 'adcvsr live --source gst:... --sink gst:...' "
                "runs it between two pipelines"
            )
        self._scale = (self._values["model"], bundle.scale)
        self._watch = SceneWatch() if self._values["cut-reset"] else None
        self._pixels = LivePixels(self._upscaler, pixels)
        self._reader, self._writer = VideoReformatter(), VideoReformatter()

    def do_stop(self) -> bool:
        """Free the network."""
        if self._upscaler is not None:
            self._upscaler.close()
            self._upscaler = None
        return True

    def do_transform_caps(self, direction: Any, caps: Any, limit: Any) -> Any:
        """Caps of the other pad: sizes times or by the scale, in any of the formats."""
        down, scale = direction == Gst.PadDirection.SINK, self._known_scale()
        found = Gst.Caps.new_empty()
        for index in range(caps.get_size()):
            structure = caps.get_structure(index).copy()
            for name in ("format", "colorimetry", "chroma-site"):
                structure.remove_field(name)
            for name in ("width", "height"):
                if scale is None:
                    structure.remove_field(name)
                elif structure.has_field(name):
                    scaled = _scaled(structure.get_value(name), scale, down=down)
                    structure.set_value(name, scaled)
            found.append_structure(structure)
        template = Gst.Caps.from_string(CAPS)
        found = found.intersect_full(template, Gst.CapsIntersectMode.FIRST)
        if limit is not None:
            found = limit.intersect_full(found, Gst.CapsIntersectMode.FIRST)
        return found

    def _known_scale(self) -> int | None:
        """What the model makes; None before the pipeline starts where that cannot be told yet."""
        model = self._values["model"]
        if self._scale is None or self._scale[0] != model:
            try:
                _add_package()
                from adcvsr.bundle import open_bundle

                self._scale = (model, open_bundle(model).scale)
            except Exception:  # the start says what is wrong
                return None
        return self._scale[1]

    def do_fixate_caps(self, direction: Any, caps: Any, others: Any) -> Any:
        """Choose the other pad's caps: the same format and colours where they are possible."""
        mine = caps.get_structure(0)
        for names in (("format", "colorimetry", "chroma-site"), ("format",)):
            wanted = Gst.Structure.new_empty("video/x-raw")
            for name in names:
                if mine.has_field(name):
                    wanted.set_value(name, mine.get_value(name))
            same = Gst.Caps.new_empty()
            same.append_structure(wanted)
            matching = others.intersect(same)
            if not matching.is_empty():
                return matching.fixate()
        return others.fixate()

    def do_get_unit_size(self, caps: Any) -> tuple[bool, int]:
        """Bytes of a frame."""
        return True, GstVideo.VideoInfo.new_from_caps(caps).size

    def do_set_caps(self, incaps: Any, outcaps: Any) -> bool:
        """Get ready for frames of this size, and measure how long one takes."""
        try:
            from adcvsr.runtime.gstreamer.child import layout_of
            from adcvsr.runtime.gstreamer.layout import Layout

            self._incoming = Layout.of(layout_of(GstVideo, incaps))
            self._outgoing = Layout.of(layout_of(GstVideo, outcaps))
            self._incoming.require_sdr()
            width, height = self._incoming.width, self._incoming.height
            self._upscaler.check_memory("the stream", width, height)
            for _ in range(WARM_UP):
                grey = memoryview(bytes([128]) * self._incoming.frame_bytes)
                began = time.monotonic_ns()
                self._run(self._incoming, grey)
                self._measured_ns = time.monotonic_ns() - began
            self._forget()
        except Exception as error:
            return self._failed(error)
        self.post_message(Gst.Message.new_latency(self))
        return True

    def do_sink_event(self, event: Any) -> bool:
        """Forget the past where another stream begins."""
        if event.type in (Gst.EventType.FLUSH_STOP, Gst.EventType.STREAM_START):
            self._forget()
        return bool(GstBase.BaseTransform.do_sink_event(self, event))

    def _query(self, query: Any) -> bool:
        """Answer what a frame takes; all else as any filter does."""
        if query.type != Gst.QueryType.LATENCY:
            return bool(GstBase.BaseTransform.do_query(self, Gst.PadDirection.SRC, query))
        before = Gst.Query.new_latency()
        if not self.get_static_pad("sink").peer_query(before):
            return False
        live, least, most = before.parse_latency()
        mine = self._values["latency"] * Gst.MSECOND or self._measured_ns
        most = most if most == Gst.CLOCK_TIME_NONE else most + mine
        query.set_latency(live, least + mine, most)
        return True

    def do_transform(self, incoming: Any, outgoing: Any) -> Any:
        """Upscale a frame; its time is carried over by the base class."""
        try:
            if incoming.has_flags(Gst.BufferFlags.DISCONT):
                self._forget()
            self._upscale(incoming, outgoing)
        except Exception as error:
            self._failed(error)
            return Gst.FlowReturn.ERROR
        return Gst.FlowReturn.OK

    def _upscale(self, incoming: Any, outgoing: Any) -> None:
        from adcvsr.pictures.yuv import frame_of
        from adcvsr.runtime.gstreamer.layout import FORMATS

        meta = GstVideo.buffer_get_video_meta(incoming)
        layout = self._incoming if meta is None else self._incoming.laid(meta, incoming.get_size())
        with incoming.map(Gst.MapFlags.READ) as mapped:
            picture = self._run(layout, mapped.data)
        made = frame_of(
            picture,
            self._outgoing.colours,
            FORMATS[self._outgoing.format],
            self._writer,
            size=(self._outgoing.width, self._outgoing.height),
            reader=self._reader,
        )
        with outgoing.map(Gst.MapFlags.WRITE) as mapped:
            at, target = 0, mapped.data
            for piece in self._outgoing.pieces(made):
                target[at : at + len(piece)] = piece
                at += len(piece)

    def _run(self, layout: Any, data: Any) -> Any:
        """Upscale a frame's bytes, which may be gone afterwards."""
        from adcvsr.runtime.live.source import LiveFrame

        frame = LiveFrame(layout.picture(data), None, 0.0, colours=layout.colours)
        if self._watch is not None and self._watch.is_cut(frame.luma()):
            self._upscaler.reset()
        return self._pixels.run(self._pixels.take(frame, None))

    def _forget(self) -> None:
        """Begin a new stream."""
        if self._upscaler is not None:
            self._upscaler.reset()
        if self._watch is not None:
            self._watch.reset()

    def _failed(self, error: Exception) -> bool:
        """Say on the bus what happened."""
        domain, code = Gst.ResourceError.quark(), int(Gst.ResourceError.FAILED)
        told = GLib.Error.new_literal(domain, f"adcvsr: {error}", code)
        self.post_message(Gst.Message.new_error(self, told, type(error).__name__))
        return False


def _scaled(value: Any, scale: int, *, down: bool) -> Any:
    """A width or height of caps on the other pad: a number, a range or a list."""
    if isinstance(value, int):
        return min(value * scale, MOST) if down else max(value // scale, 1)
    if isinstance(value, Gst.IntRange):
        first, last = value.range.start, value.range.stop - 1
        if down:
            return Gst.IntRange(range(min(first * scale, MOST - 1), min(last * scale, MOST) + 0))
        return Gst.IntRange(range(-(-first // scale), max(last // scale, 1) + 1))
    return Gst.ValueList([_scaled(each, scale, down=down) for each in value])


__gstelementfactory__ = ("adcvsr", Gst.Rank.NONE, AdcvsrElement)
