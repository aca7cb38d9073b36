"""What a target is, and where its figures come from.

`catalogue` holds the table; this module its types and its sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from ..variants import BACKENDS, PRECISIONS, why_not

T_co = TypeVar("T_co", covariant=True)

Kind = Literal["stated", "derived", "measured", "unverified"]
"""How far a figure can be trusted: stated in the source; computed from figures the source states
(the note says how); measured by this project; or believed and not found in any document."""


@dataclass(frozen=True)
class Fact(Generic[T_co]):
    """One figure of the table with where it comes from."""

    value: T_co
    """The figure; the field that holds it says the unit."""

    kind: Kind
    """How it is known."""

    source: str
    """A key of `SOURCES`."""

    note: str = ""
    """How it was derived, or what it depends on."""


@dataclass(frozen=True, kw_only=True)
class Dla:
    """A deep learning accelerator beside the GPU: static 2D convolutions in INT8 or FP16."""

    engines: int
    """Number of DLA cores."""

    int8_tops: Fact[float]
    """Dense INT8 tera-operations a second, all engines together."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One device networks are planned and built for."""

    name: str
    """What `--target` takes, such as `orin-nano`."""

    device: str
    """The board whose figures these are."""

    kind: Literal["jetson", "geforce", "datacenter", "cpu"]
    """Family; a Jetson shares its memory between CPU and GPU."""

    sm: int | None
    """CUDA compute capability times ten; None without a GPU."""

    reports_as: tuple[str, ...] = ()
    """What the driver calls the GPU, without maker: `RTX 4090`."""

    modules: tuple[str, ...] = ()
    """Part numbers in a Jetson's device tree, such as `p3767-0005`."""

    memory_gb: Fact[float] | None
    """Gigabytes; on a Jetson shared with the CPU."""

    bandwidth_gb_s: Fact[float] | None
    """Peak memory bandwidth, 10^9 bytes a second."""

    dense_tops: Mapping[str, Fact[float]]
    """Peak 10^12 operations a second without sparsity, accumulated in FP32 (INT8 in INT32); a
    multiply-add is two operations. Keys are `PRECISIONS`, and `fp16_acc16` and `fp8_acc16` where
    accumulating in FP16 is faster."""

    tensorrt: Fact[tuple[str, ...]] | None = None
    """TensorRT releases that run here."""

    jetpack: Fact[tuple[str, ...]] | None = None
    """JetPack releases of a Jetson."""

    cpu_cores: Fact[int] | None = None
    """Cores of the processor beside; None for a GPU in a machine nobody knows."""

    cpu_share: float = 1.0
    """Clock of a core over that of the first power mode."""

    power_mode: str = ""
    """The mode the figures are of; empty for the first."""

    decodes_mpx_s: Fact[float] | None = None
    """Megapixels a second of the hardware decoder, H.265; None where they are not known."""

    encodes_mpx_s: Fact[float] | None = None
    """Likewise of the encoder."""

    decodes: Fact[tuple[str, ...]] | None = None
    """Codecs of the hardware decoder, of h264, hevc and av1."""

    encodes: Fact[tuple[str, ...]] | None = None
    """Codecs of the hardware encoder; an empty value means there is none."""

    dla: Dla | None = None
    """None where there is none."""

    power_modes: Fact[tuple[str, ...]] | None = None
    """Names of a Jetson's nvpmodel modes; the figures are those of the first."""

    note: str = ""
    """What to know before trusting the figures."""

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends that can run at least FP32 here."""
        return tuple(b for b in BACKENDS if why_not(self.sm, b, "fp32") is None)

    def precisions(self, backend: str) -> tuple[str, ...]:
        """The precisions a backend runs here."""
        return tuple(p for p in PRECISIONS if why_not(self.sm, backend, p) is None)


_NV = "https://www.nvidia.com/en-us"
_DOCS = "https://docs.nvidia.com"
_POWER = "DeveloperGuide/SD/PlatformPowerAndPerformance"
_IMAGES = "https://images.nvidia.com/aem-dam"

SOURCES: dict[str, tuple[str, str]] = {
    "ada": (
        "NVIDIA Ada GPU Architecture, whitepaper v2.1, appendix A",
        f"{_IMAGES}/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf",
    ),
    "agx-orin": (
        "NVIDIA Jetson AGX Orin Series Data Sheet, DS-10662-001 v1.8",
        "https://static.generation-robots.com/media/Jetson-AGX-Orin-Data-Sheet.pdf",
    ),
    "agx-orin-brief": (
        "NVIDIA Jetson AGX Orin Series Technical Brief v1.2, TB_10749-001",
        f"{_NV.removesuffix('/en-us')}/content/dam/en-zz/Solutions/gtcf21/jetson-orin/"
        "nvidia-jetson-agx-orin-technical-brief.pdf",
    ),
    "ampere": (
        "NVIDIA Ampere Architecture In-Depth (ratios of tensor core rates)",
        "https://developer.nvidia.com/blog/nvidia-ampere-architecture-in-depth/",
    ),
    "blackwell": (
        "NVIDIA RTX Blackwell GPU Architecture, whitepaper v1.1, appendix A",
        f"{_IMAGES}/Solutions/geforce/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf",
    ),
    "compare": (
        "Compare GeForce graphics cards",
        "https://www.nvidia.com/en-gb/geforce/graphics-cards/compare/",
    ),
    "datacenter-video": (
        "NVIDIA Dynamo: video decode GPU requirements",
        f"{_DOCS}/dynamo/dev/multimodal/video-decode-gpu-requirements.md",
    ),
    "ga102": (
        "NVIDIA Ampere GA102 GPU Architecture, whitepaper, appendix A",
        f"{_IMAGES}/en-zz/Solutions/geforce/ampere/pdf/"
        "NVIDIA-ampere-GA102-GPU-Architecture-Whitepaper-V1.pdf",
    ),
    "gstreamer": (
        "Jetson Linux Developer Guide, Accelerated GStreamer",
        f"{_DOCS}/jetson/archives/r35.6.1/DeveloperGuide/SD/Multimedia/AcceleratedGstreamer.html",
    ),
    "h200": ("NVIDIA H200 Tensor Core GPU", f"{_NV}/data-center/h200/"),
    "hopper": (
        "NVIDIA H100 Tensor Core GPU Architecture, whitepaper",
        "https://resources.nvidia.com/en-us-tensor-core/gtc22-whitepaper-hopper",
    ),
    "jetpack": ("JetPack archive", "https://developer.nvidia.com/embedded/jetpack-archive"),
    "nvpmodel": (
        "Jetson Linux's nvpmodel configuration of the module (a public copy)",
        "https://github.com/LineageOS/android_device_nvidia_concord/tree/lineage-23.0/nvpmodel",
    ),
    "orin": (
        "NVIDIA Jetson Orin, technical specifications",
        f"{_NV}/autonomous-machines/embedded-systems/jetson-orin/",
    ),
    "orin-nano": (
        "NVIDIA Jetson Orin Nano Developer Kit Gets a Super Boost",
        "https://developer.nvidia.com/blog/"
        "nvidia-jetson-orin-nano-developer-kit-gets-a-super-boost/",
    ),
    "orin-nano-encode": (
        "Jetson Linux Developer Guide r36.4.3, Software Encode in Orin Nano",
        f"{_DOCS}/jetson/archives/r36.4.3/DeveloperGuide/SD/Multimedia/"
        "SoftwareEncodeInOrinNano.html",
    ),
    "orin-power": (
        "Jetson Linux Developer Guide r36.4.4, Platform Power and Performance, Jetson Orin",
        f"{_DOCS}/jetson/archives/r36.4.4/{_POWER}/"
        "JetsonOrinNanoSeriesJetsonOrinNxSeriesAndJetsonAgxOrinSeries.html",
    ),
    "own": ("Measured by this project, docs/targets.md", ""),
    "t4000": (
        "Accelerate AI Inference for Edge and Robotics with NVIDIA Jetson T4000 and JetPack 7.1",
        "https://developer.nvidia.com/blog/accelerate-ai-inference-for-edge-and-robotics-with-"
        "nvidia-jetson-t4000-and-nvidia-jetpack-7-1/",
    ),
    "tensorrt": (
        "TensorRT Support Matrix",
        f"{_DOCS}/deeplearning/tensorrt/latest/getting-started/support-matrix.html",
    ),
    "tensorrt-dla": (
        "TensorRT 11.4.1, Working with DLA",
        f"{_DOCS}/deeplearning/tensorrt/11.4.1/inference-library/work-with-dla.html",
    ),
    "tensorrt-jetson": (
        "TensorRT 11.4.1, Migrating from 10.x to 11.x on Jetson/JetPack",
        f"{_DOCS}/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-jetson.html",
    ),
    "tensorrt-rtx": (
        "TensorRT-RTX 1.5 Support Matrix",
        f"{_DOCS}/deeplearning/tensorrt-rtx/latest/getting-started/support-matrix-1/1.5.html",
    ),
    "thor": (
        "NVIDIA Jetson Thor, technical specifications",
        f"{_NV}/autonomous-machines/embedded-systems/jetson-thor/",
    ),
    "thor-power": (
        "Jetson Linux Developer Guide r38.4, Platform Power and Performance, Jetson Thor",
        f"{_DOCS}/jetson/archives/r38.4/{_POWER}/JetsonThor.html",
    ),
    "turing": (
        "NVIDIA Turing GPU Architecture, whitepaper WP-09183-001",
        f"{_IMAGES}/en-zz/Solutions/design-visualization/technologies/turing-architecture/"
        "NVIDIA-Turing-Architecture-Whitepaper.pdf",
    ),
}
"""Title and address of every document the table cites."""
