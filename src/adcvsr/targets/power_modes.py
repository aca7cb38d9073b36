"""What a Jetson's power modes leave of its figures, as its nvpmodel files cap clocks and cores.

capped = at_power_mode(target("orin-nano"), "15W")  # 0.6 of the arithmetic, 68 GB/s
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import ConfigError
from .facts import Fact, Target

NANO_MHZ, NX_MHZ, MEMORY_MHZ = (1020, 1728), (1173, 1984), 3199
"""Highest clocks of GPU and processor, and of the memory."""


@dataclass(frozen=True)
class PowerMode:
    """Shares of the figures of the first mode."""

    compute: float
    """GPU clock times multiprocessors that are on."""

    bandwidth: float
    cores: int
    processor: float
    """Clock of a core."""


def _mode(
    highest: tuple[int, int],
    gpu_mhz: int,
    cores: int,
    processor_mhz: float,
    *,
    multiprocessors: float = 1.0,
    memory_mhz: int = MEMORY_MHZ,
) -> PowerMode:
    return PowerMode(
        compute=gpu_mhz / highest[0] * multiprocessors,
        bandwidth=memory_mhz / MEMORY_MHZ,
        cores=cores,
        processor=processor_mhz / highest[1],
    )


MODES: dict[str, dict[str, PowerMode]] = {
    "orin-nano": {
        "25W": _mode(NANO_MHZ, 918, 6, 1344),
        "15W": _mode(NANO_MHZ, 612, 6, 1497.6, memory_mhz=2133),
    },
    "orin-nano-4gb": {
        "25W": _mode(NANO_MHZ, 1020, 6, 1728),
        "10W": _mode(NANO_MHZ, 612, 6, 1497.6, memory_mhz=2133),
    },
    "orin-nx": {
        "40W": _mode(NX_MHZ, 1173, 8, 1497.6),
        "25W": _mode(NX_MHZ, 408, 8, 1497.6),
        "15W": _mode(NX_MHZ, 612, 4, 1420.8, multiprocessors=0.5),
        "10W": _mode(NX_MHZ, 612, 4, 1190.4, multiprocessors=0.5, memory_mhz=2133),
    },
    "orin-nx-8gb": {
        "40W": _mode(NX_MHZ, 1173, 6, 1984),
        "20W": _mode(NX_MHZ, 408, 6, 1497.6),
        "15W": _mode(NX_MHZ, 612, 4, 1420.8, multiprocessors=0.5),
        "10W": _mode(NX_MHZ, 612, 4, 1190.4, multiprocessors=0.5, memory_mhz=2133),
    },
}
"""By target; source `nvpmodel`, p3767_0000, 0001, 0003 and 0004, super. Those of the first mode
are the catalogue's."""


def at_power_mode(each: Target, name: str | None) -> Target:
    """A target in one of its modes.

    Args:
        each: Of the catalogue.
        name: Such as `15W`; None, or the first mode, for the catalogue's figures.

    Raises:
        ConfigError: It has no such mode, or none whose clocks are known.
    """
    known = MODES.get(each.name, {})
    first = each.power_modes.value[0] if each.power_modes is not None else None
    if name is None or (first is not None and name.upper() == first):
        return each
    mode = known.get(name.upper())
    if mode is None:
        modes = ", ".join([*([first] if first else []), *known])
        raise ConfigError(
            f"no clocks are known of power mode '{name}' of {each.name}; known are: "
            f"{modes or 'none, it has no power modes'}"
        )
    note = f"{name.upper()}: {mode.compute:.2f} of the first mode's"

    def scaled(fact: Fact[float], share: float) -> Fact[float]:
        return Fact(fact.value * share, "derived", "nvpmodel", note)

    assert each.bandwidth_gb_s is not None
    return replace(
        each,
        device=f"{each.device}, {name.upper()}",
        dense_tops={key: scaled(fact, mode.compute) for key, fact in each.dense_tops.items()},
        bandwidth_gb_s=scaled(each.bandwidth_gb_s, mode.bandwidth),
        cpu_cores=Fact(mode.cores, "derived", "nvpmodel", note),
        cpu_share=mode.processor,
        power_mode=name.upper(),
    )
