"""Folders of files that stand for boards, as the boards have them: what the doctor reads."""

from __future__ import annotations

from pathlib import Path

from adcvsr.host.machine import Host

ORIN_NANO_MODES = """\
# < POWER_MODEL ID=9 NAME=COMMENT >
< PARAM TYPE=CLOCK NAME=GPU >
MAX_FREQ /sys/devices/17000000.ga10b/devfreq/17000000.ga10b/max_freq

< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_5 1
TPC_POWER_GATING TPC_PG_MASK 240
GPU MIN_FREQ 0
GPU MAX_FREQ 612000000
EMC MAX_FREQ 2133000000

< POWER_MODEL ID=1 NAME=25W >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_5 1
TPC_POWER_GATING TPC_PG_MASK 240
GPU MAX_FREQ 918000000
EMC MAX_FREQ 3199000000

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1
CPU_ONLINE CORE_5 1
TPC_POWER_GATING TPC_PG_MASK 240
GPU MAX_FREQ -1
EMC MAX_FREQ -1

< PM_CONFIG DEFAULT=1 >
"""
"""Abridged from an Orin Nano's nvpmodel.conf: the highest number is not always the fastest."""

THOR_MODES = """\
< POWER_MODEL ID=0 NAME=MAXN >
GPU MAX_FREQ -1
< POWER_MODEL ID=1 NAME=120W >
GPU MAX_FREQ 1386000000
< PM_CONFIG DEFAULT=1 >
"""

PACKAGE = "Package: {}\nStatus: install ok installed\nArchitecture: arm64\nVersion: {}\n"


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def orin_nano(root: Path) -> Path:
    """A Jetson Orin Nano developer kit, JetPack 6.2, in its 15 W mode."""
    packages = {
        "nvidia-l4t-core": "36.4.3-20250107174145",
        "nvidia-jetpack": "6.2+b77",
        "libnvinfer10": "10.3.0.30-1+cuda12.5",
        "python3-libnvinfer": "10.3.0.30-1+cuda12.5",
    }
    removed = "Package: nvidia-tensorrt\nStatus: deinstall ok config-files\nVersion: 6.2+b77\n"
    write_files(
        root,
        {
            "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081\n",
            "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit Super\0",
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,tegra234\0",
            "proc/meminfo": "MemTotal: 7802976 kB\nMemAvailable: 5100000 kB\nSwapTotal: 3901 kB\n",
            "proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 650244 0 5\n",
            "var/lib/dpkg/status": "\n".join(
                [removed, *(PACKAGE.format(*each) for each in packages.items())]
            ),
            "etc/nvpmodel.conf": ORIN_NANO_MODES,
            "var/lib/nvpmodel/status": "pmode:0000",
            "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
            "sys/class/devfreq/17000000.gpu/max_freq": "612000000\n",
            "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "51500\n",
            "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "97000\n",
            "sys/class/thermal/thermal_zone1/trip_point_0_type": "passive\n",
            "sys/class/thermal/thermal_zone1/trip_point_0_temp": "99000\n",
            "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
            "usr/lib/aarch64-linux-gnu/gstreamer-1.0/libgstnvvideo4linux2.so": "",
            "usr/local/cuda-12.6/version.json": '{"cuda": {"name": "CUDA", "version": "12.6.11"}}',
        },
    )
    (root / "sys/class/thermal/thermal_zone2/temp").mkdir()  # a sensor that cannot be read
    return root


def thor(root: Path) -> Path:
    """A Jetson AGX Thor developer kit, JetPack 7.1, clocks held, without the JetPack packages."""
    write_files(
        root,
        {
            "etc/os-release": 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\n',
            "etc/nv_tegra_release": "# R38 (release), REVISION: 4.0, GCID: 43443517\n",
            "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,tegra264\0",
            "etc/nvpmodel.conf": THOR_MODES,
            "sys/class/devfreq/gpu-gpc-0/min_freq": "1386000000\n",
            "sys/class/devfreq/gpu-gpc-0/max_freq": "1386000000\n",
            "sys/class/devfreq/gpu-gpc-0/cur_freq": "1386000000\n",
        },
    )
    return root


def jetson_host(root: Path, *, python: tuple[int, int] = (3, 10), in_venv: bool = True) -> Host:
    """A host that is the board whose files lie below the root."""
    return Host(
        root=root,
        machine="aarch64",
        system="Linux",
        python=python,
        libc=("glibc", "2.35" if python == (3, 10) else "2.39"),
        prefix=Path("/home/user/venv"),
        in_venv=in_venv,
    )
