"""What an engine is built from: everything that decides its bytes, and so its key in the cache.

order = EngineOrder(...)
order.key  # 32 hex digits
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...bundle import Bundle
from ...errors import ConfigError, GraphError
from ...graph.yuv_ends import CHROMA, YuvEnds, with_yuv_ends
from ...pictures.limits import MAX_PIXELS, MAX_SIDE
from ...variants import VariantName
from ..nvidia.gpu import Gpu

SCHEMA = 1
"""Of the key and of the file beside an engine; another one is another engine."""

DEFAULT_WORKSPACE_BYTES = 2 << 30
"""Without a cap TensorRT may take all memory of the device for trying kernels out."""

DEFAULT_SIZE = (360, 640)
"""Height and width built for when none is named."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SizeRange:
    """Input sizes an engine takes, (height, width) in pixels; one size where all are the same."""

    smallest: tuple[int, int]
    best: tuple[int, int]
    """What kernels are chosen for."""
    largest: tuple[int, int]

    def __post_init__(self) -> None:
        """Hold the sizes against each other.

        Raises:
            ConfigError: A side is below 1, the three are not in order, or no video is so large.
        """
        for low, mid, high in zip(self.smallest, self.best, self.largest, strict=True):
            if not 1 <= low <= mid <= high:
                raise ConfigError(
                    f"sizes {self.text}: expected --min <= --opt <= --max in width and height"
                )
        if self.largest[0] * self.largest[1] > MAX_PIXELS or max(self.largest) > MAX_SIDE:
            raise ConfigError(
                f"size {self.largest[1]}x{self.largest[0]}: the limit is {MAX_PIXELS / 1e6:.0f} "
                f"megapixels and {MAX_SIDE} pixels a side"
            )

    @classmethod
    def fixed(cls, height: int, width: int) -> SizeRange:
        """One size only: the fastest engine."""
        return cls((height, width), (height, width), (height, width))

    @property
    def is_fixed(self) -> bool:
        """Whether the engine takes one size only."""
        return self.smallest == self.largest

    @property
    def text(self) -> str:
        """Width x height, as people write it; three of them for a range."""
        sizes = [self.best] if self.is_fixed else [self.smallest, self.best, self.largest]
        return "..".join(f"{width}x{height}" for height, width in sizes)

    def padded(self, multiple: int) -> SizeRange:
        """Rounded up to what the network takes."""
        up = (
            (-(-h // multiple) * multiple, -(-w // multiple) * multiple)
            for h, w in (self.smallest, self.best, self.largest)
        )
        return SizeRange(*up)

    def covers(self, height: int, width: int) -> bool:
        """Whether a (padded) size can be run."""
        return all(
            low <= side <= high
            for low, side, high in zip(self.smallest, (height, width), self.largest, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Choices of a build beside the graph and the sizes."""

    workspace_bytes: int = DEFAULT_WORKSPACE_BYTES
    """Most scratch memory a kernel may use."""

    hardware: str | None = None
    """`ampere+` or `same-sm`: also for other GPUs, with slower kernels; None for this GPU."""

    version_compatible: bool = False
    """Also for later TensorRT versions, with slower kernels and a larger engine."""

    dla: int | None = None
    """DLA core to run on; None for the GPU."""

    dla_fallback: bool = False
    """With `dla`: layers that it cannot run may go to the GPU."""

    level: int | None = None
    """Builder's optimisation level, 0 (fast build) to 5 (all kernels tried); None for its own."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One is out of range.
        """
        if self.workspace_bytes < 1 << 20:
            raise ConfigError(f"--workspace {self.workspace_bytes} bytes; expected 1MiB or more")
        if self.dla_fallback and self.dla is None:
            raise ConfigError("--dla-fallback says what a DLA core may leave out; give --dla CORE")

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, for the key.

        What came later is there only where it is used, so that engines built before stay good.
        """
        values: dict[str, Any] = {
            "workspace_bytes": self.workspace_bytes,
            "hardware": self.hardware,
            "version_compatible": self.version_compatible,
            "level": self.level,
        }
        if self.dla is not None:
            values |= {"dla": self.dla, "dla_fallback": self.dla_fallback}
        return values


@dataclass(frozen=True, kw_only=True)
class EngineOrder:
    """One graph of a bundle, to be built for one kind of device and range of sizes."""

    bundle: Bundle = field(compare=False)
    variant_id: str
    graph_file: str
    """The variant's `file` or `decoder_file`."""
    backend: str
    builder: str
    """Full version of the compiler."""
    cuda: str
    """CUDA version of the driver (device builds), or what the compiler was built for."""
    gpu: str | None
    """The GPU's name; None for a build ahead of time."""
    sms: tuple[int, ...]
    """Compute capabilities the engine runs on."""
    sizes: SizeRange
    frames: int = 1
    """Frames of a clip graph's window."""
    streams: int = 1
    """Streams whose frames run at once, of a stream graph."""
    options: BuildOptions = field(default_factory=BuildOptions)
    yuv: YuvEnds | None = None
    """Of which YUV 4:2:0 pictures are; None for RGB."""

    @property
    def tf32(self) -> bool:
        """Whether FP32 products round their factors to TF32 on tensor cores.

        Only for the variant that says so: TensorRT's own default would be another precision than
        the one named.
        """
        return VariantName.parse(self.variant_id).precision == "tf32"

    @property
    def part(self) -> str:
        """`stream`, `clip` or `decoder`."""
        if self.graph_file == self.bundle.variant(self.variant_id).decoder_file:
            return "decoder"
        return self.bundle.kind

    @property
    def hwc8(self) -> list[str]:
        """State tensors, in and out, that the engine holds with a pixel's channels together.

        Kernels of FP16 convolutions work so; a state in planes costs a kernel each way to turn it.
        Sessions never look into a state: it has the same bytes, and zeros are zeros.
        """
        floats = self.bundle.variant(self.variant_id).state_dtype
        if self.part != "stream" or floats != "float16" or self.options.dla is not None:
            return []
        kept = [spec for spec in self.bundle.state if spec.channels % 8 == 0]
        return [name for spec in kept for name in (spec.name, spec.next_name)]

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """Shape of every input of the graph for one (padded) input size."""
        bundle = self.bundle
        if self.part == "decoder":
            assert bundle.features is not None
            return {bundle.features.name: bundle.features.shape(height, width)}
        frames = self.frames * self.streams  # of which one is 1
        shapes: dict[str, Shape] = {bundle.input_name: (frames, height, width, 3)}
        if self.yuv is not None:
            pairs = (frames, (height + 1) // 2, (width + 1) // 2, 2)
            shapes = {
                bundle.input_name: (frames, height, width, 1),
                CHROMA.format(bundle.input_name): pairs,
            }
        state = {spec.name: spec.shape(height, width, self.streams) for spec in bundle.state}
        return shapes | state

    def profile(self) -> dict[str, tuple[Shape, Shape, Shape]]:
        """Smallest, best and largest shape of every input."""
        sizes = self.sizes
        low, best, high = (self.shapes(*s) for s in (sizes.smallest, sizes.best, sizes.largest))
        return {name: (low[name], best[name], high[name]) for name in low}

    def source(self) -> dict[str, Any]:
        """What is built, without for which sizes: engines that agree here can stand in."""
        variant = self.bundle.variant(self.variant_id)
        files = self.bundle.manifest["files"]
        source = {
            "backend": self.backend,
            "builder": self.builder,
            "onnx": files[self.graph_file]["sha256"],
            "data": [files[name]["sha256"] for name in variant.data_files],
            "frames": self.frames if self.part == "clip" else 1,
        }
        if self.yuv is not None:
            source["yuv"] = [self.yuv.matrix, self.yuv.full_range]
        if self.streams > 1:  # what came later is there only where it is used
            source["streams"] = self.streams
        return {**source, "hwc8": self.hwc8} if self.hwc8 else source

    def ended(self, graph: bytes | Path) -> bytes | Path:
        """The graph that is built: the bundle's, with the ends that are ordered.

        Raises:
            GraphError: It cannot have them.
        """
        if self.yuv is None:
            return graph
        if isinstance(graph, Path):
            raise GraphError("the graph's weights lie beside it")
        bundle = self.bundle
        names = (bundle.input_name, bundle.output_name)
        return with_yuv_ends(graph, *names, self.yuv, scale=bundle.scale)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the engine's bytes, JSON-ready."""
        return {
            "schema": SCHEMA,
            **self.source(),
            "cuda": self.cuda,
            "device": {"gpu": self.gpu, "sms": list(self.sms), "aot": self.gpu is None},
            "profile": {name: [list(s) for s in three] for name, three in self.profile().items()},
            "options": {**self.options.to_json(), "tf32": self.tf32},
        }

    @property
    def key(self) -> str:
        """The engine's name in the cache."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def describe(self) -> str:
        """One line for people."""
        where = self.gpu or "+".join(f"sm{sm}" for sm in self.sms) + " ahead of time"
        part = "" if self.part == "stream" else f" {self.part}"
        if self.yuv is not None:
            part += f" of YUV ({self.yuv.describe()})"
        if self.options.dla is not None:
            where += f", DLA core {self.options.dla}"
        many = f" of {self.streams} streams" if self.streams > 1 else ""
        return f"{self.bundle.name} {self.variant_id}{part} {self.sizes.text}{many} for {where}"


def runs_on(identity: Mapping[str, Any], gpu: Gpu) -> bool:
    """Whether an engine of this identity may run on a GPU.

    Engines of a device build are for that GPU alone; ahead of time for all of a compute capability;
    hardware-compatible ones for a compute capability or everything from Ampere on.
    """
    device, hardware = identity["device"], identity["options"]["hardware"]
    if hardware == "ampere+":
        return gpu.sm >= 80 and not gpu.integrated
    if device["aot"] or hardware == "same-sm":
        return gpu.sm in device["sms"]
    return bool(device["gpu"] == gpu.name and gpu.sm in device["sms"])


def parse_bytes(text: str) -> int:
    """Read `2GiB`, `512MiB`, `1.5GB` or a plain number of bytes.

    Raises:
        ConfigError: It is no amount of memory.
    """
    units = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
    units |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not match or match[2] not in units:
        raise ConfigError(f"'{text}' is no amount of memory; expected such as 2GiB or 512MiB")
    return int(float(match[1]) * units[match[2]])
