"""The devices networks are planned and built for, each figure with its source.

Peaks are what a document promises at boost clock, never what a network reaches. `adcvsr targets`
prints the table, docs/targets.md says how its figures were checked.

    sm = target("orin-nano").sm  # 87
"""

from __future__ import annotations

from typing import cast

from ..config import nearest
from ..errors import ConfigError
from .facts import Dla, Fact, Kind, Target


def target(name: str) -> Target:
    """Return a target by name.

    Raises:
        ConfigError: There is no such target; the message names the nearest one.
    """
    if name not in TARGETS:
        raise ConfigError(f"no target '{name}'{nearest(name, cast('dict[str, object]', TARGETS))}")
    return TARGETS[name]


def _tops(kind: Kind, source: str, note: str = "", **values: float) -> dict[str, Fact[float]]:
    return {key: Fact(value, kind, source, note) for key, value in values.items()}


def _orin_tops(sms: int, ghz: float) -> dict[str, Fact[float]]:
    """Peaks of an Orin's GPU: AGX Orin's 170 sparse INT8 TOPS are 4096 a clock and multiprocessor.

    That is GA100's rate, twice a GeForce's, and GA100's ratios INT8 : FP16 : TF32 = 4 : 2 : 1 are
    taken for the rest.
    """
    note = f"{sms} multiprocessors at {ghz} GHz"
    rates = {"fp32": 256, "tf32": 1024, "fp16": 2048, "bf16": 2048, "int8": 4096}
    return {
        key: Fact(round(sms * ghz * rate / 1e3, 1), "derived", "ampere", f"{note}, {rate} a clock")
        for key, rate in rates.items()
    }


def _geforce_tops(sm: int, sms: int, ghz: float) -> dict[str, Fact[float]]:
    """Peaks of a GeForce: the whitepapers' figures divide into the same rates since Turing."""
    rates = {"fp32": 128 if sm == 75 else 256, "fp16": 512, "fp16_acc16": 1024, "int8": 2048}
    if sm >= 80:
        rates |= {"tf32": 256, "bf16": 512}
    if sm >= 89:
        rates |= {"fp8": 1024, "fp8_acc16": 2048}
    if sm >= 120:
        rates["fp4"] = 4096
    note = f"{sms} multiprocessors at {ghz} GHz"
    source = {75: "turing", 86: "ga102", 89: "ada", 120: "blackwell"}[sm]
    return {
        key: Fact(round(sms * ghz * rate / 1e3, 1), "derived", source, f"{note}, {rate} a clock")
        for key, rate in rates.items()
    }


_ORIN_JETPACK = Fact(("6.0", "6.1", "6.2", "7.2"), "stated", "jetpack", "and their point releases")
_ORIN_TENSORRT = Fact(
    ("10.3 (JetPack 6.1, 6.2)", "10.16 (JetPack 7.2, 7.2.1)", "11.4 (JetPack 7.2.2)"),
    "stated",
    "tensorrt-jetson",
    "JetPack 6 never gets 11; its Python is 3.10",
)
_THOR_JETPACK = Fact(("7.0", "7.1", "7.2"), "stated", "jetpack", "and their point releases")
_THOR_TENSORRT = Fact(
    ("10.13 (JetPack 7.0, 7.1)", "10.16 (JetPack 7.2, 7.2.1)", "11.4 (JetPack 7.2.2)"),
    "stated",
    "tensorrt-jetson",
)
_ORIN_DECODES = Fact(("h264", "hevc"), "stated", "gstreamer", "through GStreamer, not PyAV")
_ORIN_ENCODES = Fact(("h264", "hevc"), "stated", "orin", "through GStreamer, not PyAV")


def _streams_4k60(count: int) -> Fact[float]:
    """Throughput of a codec engine that takes so many streams of 3840x2160 at 60 fps."""
    megapixels = round(count * 3840 * 2160 * 60 / 1e6, 1)
    return Fact(megapixels, "unverified", "orin", f"{count} x 4K60 in H.265, by the module's page")


_NO_ENCODER: Fact[tuple[str, ...]] = Fact((), "stated", "orin-nano-encode", "encode on the CPU")
_DLA_NOTE = "half the sparse figure; TensorRT 10.3 to 10.7 use it, and 11.4 on AGX Orin"
_TENSORRT = Fact(("10.3 to 11.4",), "stated", "tensorrt")
_H26X = ("h264", "hevc")
_H26X_AV1 = ("h264", "hevc", "av1")


def _geforce(
    name: str,
    board: str,
    sm: int,
    *,
    memory: Fact[float],
    bandwidth: Fact[float],
    tops: dict[str, Fact[float]],
    note: str = "",
) -> Target:
    return Target(
        name=name,
        device=f"GeForce {board}",
        kind="geforce",
        sm=sm,
        reports_as=(board,),
        memory_gb=memory,
        bandwidth_gb_s=bandwidth,
        dense_tops=tops,
        tensorrt=Fact(("10.8 to 11.4",), "unverified", "tensorrt") if sm == 120 else _TENSORRT,
        decodes=Fact(_H26X if sm == 75 else _H26X_AV1, "stated", "compare"),
        encodes=Fact(_H26X_AV1 if sm >= 89 else _H26X, "stated", "compare"),
        note=note,
    )


_LOW = "the low end of its class; a larger board is faster, so what fits here fits the class"

_ALL = (
    Target(
        name="orin-nano",
        device="Jetson Orin Nano 8GB (Super)",
        cpu_cores=Fact(6, "stated", "orin-nano", "Cortex-A78AE at 1.7 GHz"),
        kind="jetson",
        sm=87,
        modules=("p3767-0003", "p3767-0005"),
        memory_gb=Fact(8, "stated", "orin-nano"),
        bandwidth_gb_s=Fact(102, "stated", "orin-nano", "68 in 15W and 7W"),
        dense_tops=_orin_tops(8, 1.02) | _tops("stated", "orin-nano", fp16=17, int8=33),
        decodes_mpx_s=_streams_4k60(1),
        decodes=_ORIN_DECODES,
        encodes=_NO_ENCODER,
        power_modes=Fact(("MAXN_SUPER", "25W", "15W", "7W"), "stated", "orin-power"),
        note="15W has the GPU at 612 instead of 1020 MHz: 10 FP16 and 20 INT8 TOPS, 68 GB/s",
        tensorrt=_ORIN_TENSORRT,
        jetpack=_ORIN_JETPACK,
    ),
    Target(
        name="orin-nano-4gb",
        device="Jetson Orin Nano 4GB (Super)",
        cpu_cores=Fact(6, "stated", "orin-nano", "Cortex-A78AE at 1.7 GHz"),
        kind="jetson",
        sm=87,
        modules=("p3767-0004",),
        memory_gb=Fact(4, "stated", "orin"),
        bandwidth_gb_s=Fact(51, "stated", "orin"),
        dense_tops=_orin_tops(4, 1.02) | _tops("derived", "orin", "half of 34 sparse", int8=17),
        decodes_mpx_s=_streams_4k60(1),
        decodes=_ORIN_DECODES,
        encodes=_NO_ENCODER,
        power_modes=Fact(("MAXN_SUPER", "25W", "10W"), "stated", "nvpmodel"),
        tensorrt=_ORIN_TENSORRT,
        jetpack=_ORIN_JETPACK,
    ),
    Target(
        name="orin-nx",
        device="Jetson Orin NX 16GB (Super)",
        cpu_cores=Fact(8, "unverified", "orin", "Cortex-A78AE at 2.0 GHz"),
        kind="jetson",
        sm=87,
        modules=("p3767-0000",),
        memory_gb=Fact(16, "stated", "orin"),
        bandwidth_gb_s=Fact(102.4, "stated", "orin"),
        dense_tops=_orin_tops(8, 1.173),
        decodes_mpx_s=_streams_4k60(2),
        encodes_mpx_s=_streams_4k60(1),
        decodes=_ORIN_DECODES,
        encodes=_ORIN_ENCODES,
        dla=Dla(engines=2, int8_tops=Fact(40, "derived", "orin", "157 sparse less the GPU's 77")),
        power_modes=Fact(("MAXN_SUPER", "40W", "25W", "15W", "10W"), "stated", "orin-power"),
        note="without the Super modes the GPU stops at 918 MHz, the module at 25W",
        tensorrt=_ORIN_TENSORRT,
        jetpack=_ORIN_JETPACK,
    ),
    Target(
        name="orin-nx-8gb",
        device="Jetson Orin NX 8GB (Super)",
        cpu_cores=Fact(6, "unverified", "orin", "Cortex-A78AE at 2.0 GHz"),
        kind="jetson",
        sm=87,
        modules=("p3767-0001",),
        memory_gb=Fact(8, "stated", "orin"),
        bandwidth_gb_s=Fact(102.4, "stated", "orin"),
        dense_tops=_orin_tops(8, 1.173),
        decodes_mpx_s=_streams_4k60(2),
        encodes_mpx_s=_streams_4k60(1),
        decodes=_ORIN_DECODES,
        encodes=_ORIN_ENCODES,
        dla=Dla(engines=1, int8_tops=Fact(20, "derived", "orin", "117 sparse less the GPU's 77")),
        power_modes=Fact(("MAXN_SUPER", "40W", "20W", "15W", "10W"), "stated", "nvpmodel"),
        tensorrt=_ORIN_TENSORRT,
        jetpack=_ORIN_JETPACK,
    ),
    Target(
        name="agx-orin",
        device="Jetson AGX Orin 64GB",
        cpu_cores=Fact(12, "unverified", "orin", "Cortex-A78AE at 2.2 GHz"),
        kind="jetson",
        sm=87,
        modules=("p3701-0005", "p3701-0000"),
        memory_gb=Fact(64, "stated", "agx-orin"),
        bandwidth_gb_s=Fact(204.8, "stated", "agx-orin"),
        dense_tops=_orin_tops(16, 1.3)
        | _tops("derived", "agx-orin", "half of 170 sparse", int8=85)
        | _tops("stated", "agx-orin-brief", fp32=5.3),
        decodes_mpx_s=_streams_4k60(3),
        encodes_mpx_s=_streams_4k60(2),
        decodes=Fact(_H26X_AV1, "stated", "gstreamer", "through GStreamer, not PyAV"),
        encodes=_ORIN_ENCODES,
        dla=Dla(engines=2, int8_tops=Fact(52.5, "derived", "agx-orin", _DLA_NOTE)),
        power_modes=Fact(("MAXN", "50W", "30W", "15W"), "stated", "orin-power"),
        note="p3701-0000 is the first developer kit, with 32 GB",
        tensorrt=_ORIN_TENSORRT,
        jetpack=_ORIN_JETPACK,
    ),
    Target(
        name="agx-orin-32gb",
        device="Jetson AGX Orin 32GB",
        cpu_cores=Fact(8, "unverified", "orin", "Cortex-A78AE at 2.2 GHz"),
        kind="jetson",
        sm=87,
        modules=("p3701-0004",),
        memory_gb=Fact(32, "stated", "agx-orin"),
        bandwidth_gb_s=Fact(204.8, "stated", "agx-orin"),
        dense_tops=_orin_tops(14, 0.93)
        | _tops("derived", "agx-orin", "half of 108 sparse", int8=54),
        decodes_mpx_s=_streams_4k60(2),
        encodes_mpx_s=_streams_4k60(1),
        decodes=Fact(_H26X_AV1, "stated", "gstreamer", "through GStreamer, not PyAV"),
        encodes=_ORIN_ENCODES,
        dla=Dla(
            engines=2,
            int8_tops=Fact(
                46, "derived", "agx-orin", "half of 92 sparse (p. 8, 10); p. 12 says 98"
            ),
        ),
        power_modes=Fact(("MAXN", "40W", "30W", "15W"), "stated", "orin-power"),
        tensorrt=_ORIN_TENSORRT,
        jetpack=_ORIN_JETPACK,
    ),
    Target(
        name="thor",
        device="Jetson T5000 (AGX Thor)",
        cpu_cores=Fact(14, "unverified", "thor", "Neoverse-V3AE at 2.6 GHz"),
        kind="jetson",
        sm=110,
        reports_as=("Thor",),
        modules=("p3834-0008",),
        memory_gb=Fact(128, "stated", "thor"),
        bandwidth_gb_s=Fact(273, "stated", "thor"),
        dense_tops=_tops("stated", "thor", fp4=1035, fp8=517)
        | _tops("derived", "thor", "half of 1035 sparse", int8=517)
        | _tops("derived", "thor", "half of 517 sparse", fp16=258.5, bf16=258.5)
        | _tops("derived", "thor", "2560 cores at 1.575 GHz", fp32=8.1),
        decodes=Fact(_H26X, "stated", "thor"),
        encodes=Fact(_H26X, "stated", "thor"),
        power_modes=Fact(("MAXN", "120W", "90W", "70W"), "stated", "thor-power"),
        note="90W and 70W switch four of ten GPU clusters off and need a reboot",
        tensorrt=_THOR_TENSORRT,
        jetpack=_THOR_JETPACK,
    ),
    Target(
        name="thor-t4000",
        device="Jetson T4000",
        cpu_cores=Fact(12, "unverified", "t4000", "Neoverse-V3AE at 2.6 GHz"),
        kind="jetson",
        sm=110,
        modules=("p3834-0000",),
        memory_gb=Fact(64, "stated", "t4000"),
        bandwidth_gb_s=Fact(273, "stated", "t4000"),
        dense_tops=_tops("stated", "thor", fp4=600, fp8=300)
        | _tops("derived", "thor", "half of 600 sparse", int8=300)
        | _tops("derived", "thor", "half of 300 sparse", fp16=150, bf16=150)
        | _tops("derived", "thor-power", "1536 cores at 1.53 GHz", fp32=4.7),
        decodes=Fact(_H26X, "stated", "thor"),
        encodes=Fact(_H26X, "stated", "thor"),
        power_modes=Fact(("MAXN", "70W"), "stated", "thor-power"),
        tensorrt=_THOR_TENSORRT,
        jetpack=_THOR_JETPACK,
    ),
    _geforce(
        "rtx-20",
        "RTX 2060",
        75,
        memory=Fact(6, "stated", "compare"),
        bandwidth=Fact(336, "derived", "compare", "192 bit at 14 Gbit/s"),
        tops=_geforce_tops(75, 30, 1.68),
        note=_LOW,
    ),
    _geforce(
        "rtx-2080-ti",
        "RTX 2080 Ti",
        75,
        memory=Fact(11, "stated", "turing"),
        bandwidth=Fact(616, "stated", "turing"),
        tops=_tops("stated", "turing", fp32=14.2, fp16=56.9, fp16_acc16=113.8, int8=227.7),
        note="Founders Edition",
    ),
    _geforce(
        "rtx-30",
        "RTX 3060",
        86,
        memory=Fact(12, "stated", "compare"),
        bandwidth=Fact(360, "derived", "compare", "192 bit at 15 Gbit/s"),
        tops=_geforce_tops(86, 28, 1.78),
        note=_LOW,
    ),
    _geforce(
        "rtx-3090",
        "RTX 3090",
        86,
        memory=Fact(24, "stated", "ga102"),
        bandwidth=Fact(936, "stated", "ga102"),
        tops=_tops(
            "stated", "ga102", fp32=35.6, tf32=35.6, fp16=71, bf16=71, fp16_acc16=142, int8=284
        ),
    ),
    _geforce(
        "rtx-40",
        "RTX 4060",
        89,
        memory=Fact(8, "stated", "compare"),
        bandwidth=Fact(272, "derived", "compare", "128 bit at 17 Gbit/s"),
        tops=_geforce_tops(89, 24, 2.46),
        note=_LOW,
    ),
    _geforce(
        "rtx-4090",
        "RTX 4090",
        89,
        memory=Fact(24, "stated", "ada"),
        bandwidth=Fact(1008, "stated", "ada"),
        tops=_tops("stated", "ada", fp32=82.6, tf32=82.6, fp16=165.2, bf16=165.2)
        | _tops("stated", "ada", fp16_acc16=330.3, int8=660.6, fp8=330.3, fp8_acc16=660.6),
    ),
    _geforce(
        "rtx-50",
        "RTX 5060",
        120,
        memory=Fact(8, "stated", "compare"),
        bandwidth=Fact(448, "derived", "compare", "128 bit at 28 Gbit/s"),
        tops=_geforce_tops(120, 30, 2.5),
        note=_LOW,
    ),
    _geforce(
        "rtx-5090",
        "RTX 5090",
        120,
        memory=Fact(32, "stated", "compare"),
        bandwidth=Fact(1792, "stated", "blackwell"),
        tops=_tops("stated", "blackwell", fp16=209.5, bf16=209.5, fp16_acc16=419)
        | _tops("stated", "blackwell", fp8=419, fp8_acc16=838, fp4=1676)
        | {
            key: fact
            for key, fact in _geforce_tops(120, 170, 2.407).items()
            if key in {"fp32", "tf32", "int8"}
        },
    ),
    Target(
        name="h100",
        device="H100 SXM5 80GB",
        kind="datacenter",
        sm=90,
        reports_as=("H100 80GB HBM3", "H100"),
        memory_gb=Fact(80, "stated", "hopper"),
        bandwidth_gb_s=Fact(3350, "stated", "hopper"),
        dense_tops=_tops("stated", "hopper", fp32=66.9, tf32=494.7, fp16=989.4, bf16=989.4)
        | _tops("stated", "hopper", int8=1978.9, fp8=1978.9),
        tensorrt=_TENSORRT,
        decodes=Fact(_H26X, "stated", "datacenter-video"),
        encodes=Fact((), "stated", "datacenter-video", "encode on the CPU"),
        note="PCIe boards are slower; TensorRT-RTX has no Hopper",
    ),
    Target(
        name="h200",
        device="H200 SXM 141GB",
        kind="datacenter",
        sm=90,
        reports_as=("H200",),
        memory_gb=Fact(141, "stated", "h200"),
        bandwidth_gb_s=Fact(4800, "stated", "h200"),
        dense_tops=_tops("stated", "hopper", fp32=66.9, tf32=494.7, fp16=989.4, bf16=989.4)
        | _tops("stated", "hopper", int8=1978.9, fp8=1978.9),
        tensorrt=_TENSORRT,
        decodes=Fact(_H26X, "stated", "datacenter-video"),
        encodes=Fact((), "stated", "datacenter-video", "encode on the CPU"),
        note="the H100's GPU with more and faster memory",
    ),
    Target(
        name="cpu",
        device="two cores of a Xeon server with AVX-512",
        cpu_cores=Fact(2, "measured", "own", "Xeon with AVX-512"),
        kind="cpu",
        sm=None,
        memory_gb=None,
        bandwidth_gb_s=Fact(26.9, "measured", "own", "copies of 256 MiB by two threads"),
        dense_tops=_tops("measured", "own", "512x512 product in numpy, two threads", fp32=0.26)
        | _tops("derived", "own", "from nano, INT8 in 0.67 of FP32's time on it", int8=0.31),
        note="an example, not a class: measure your own",
    ),
)

TARGETS: dict[str, Target] = {each.name: each for each in _ALL}
"""Every target by name, Jetsons first."""
