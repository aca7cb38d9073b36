"""The doctor in front of boards that are folders of files: what it recognises and advises."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adcvsr.host.machine import Host
from adcvsr.runtime.doctor.children import Outcome
from adcvsr.runtime.doctor.doctor import examine
from adcvsr.runtime.doctor.findings import Finding
from adcvsr.runtime.doctor.fixes import install_driver, install_onnxruntime_gpu, install_tensorrt
from adcvsr.runtime.doctor.gpu import gpu_findings
from adcvsr.runtime.doctor.platform import platform_findings, python_findings
from adcvsr.runtime.doctor.power import power_findings, read_power_modes
from adcvsr.runtime.doctor.tensorrt import tensorrt_findings
from adcvsr.runtime.doctor.video import video_findings
from adcvsr.targets import recognise
from board_files import jetson_host, orin_nano, thor, write_files

LONG_S = 60.0
"""Time for children on a busy machine; they end long before."""


def named(findings: list[Finding] | tuple[Finding, ...], name: str) -> Finding:
    (found,) = [each for each in findings if each.name == name]
    return found


@pytest.fixture
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's own GPU, where it has one, from the children."""
    write_files(tmp_path / "hidden", {"pynvml.py": "raise ImportError('hidden')"})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture
def nano(tmp_path: Path) -> Host:
    return jetson_host(orin_nano(tmp_path))


def test_orin_nano_is_recognised(nano: Host) -> None:
    assert (nano.l4t, nano.jetpack, nano.jetpack_major) == ("36.4.3", "6.2", 6)
    assert nano.module == "p3767-0005"
    assert recognise(nano, []) == ("orin-nano", "module p3767-0005")
    value = named(platform_findings(nano), "JetPack").value
    assert value == "JetPack 6.2, Jetson Linux 36.4.3, module p3767-0005"
    memory = named(platform_findings(nano), "memory")
    assert memory.data["zram"] is True
    assert memory.data["total_bytes"] == 7802976 * 1024
    wheels = named(python_findings(nano), "wheels").data["newest"]
    assert wheels == {"av": "17.1", "numpy": "2.2.6", "onnxruntime": "1.23.2"}


@pytest.mark.usefixtures("no_gpu")
def test_whole_report_of_an_orin_nano(nano: Host) -> None:
    """The board's files, this machine's packages, no driver: the verdict rests on the board."""
    report = examine(nano, wait_s=LONG_S)
    assert report.verdict.target == "orin-nano"
    backends = {each.name: each for each in report.verdict.backends}
    assert backends["tensorrt"].runs == "no"
    assert backends["tensorrt"].precisions == ("fp32", "tf32", "fp16", "bf16", "int8")
    assert backends["tensorrt-rtx"].precisions == ()
    assert "8.7" in backends["tensorrt-rtx"].why
    assert backends["ort-cpu"].runs == "yes"
    groups = {each.group for each in report.findings}
    assert groups == {"platform", "python", "gpu", "inference", "video", "power", "packages"}
    assert not [each for each in report.findings if "probe failed" in each.value]


def test_power_mode_below_the_fastest_is_a_warning(nano: Host) -> None:
    modes = read_power_modes(nano)
    assert [(m.number, m.name, m.gpu_mhz, m.clusters) for m in modes] == [
        (0, "15W", 612.0, 4),
        (1, "25W", 918.0, 4),
        (2, "MAXN_SUPER", None, 4),
    ]
    mode = named(power_findings(nano, []), "power mode")
    assert mode.mark == "warning"
    assert mode.data["mode"] == "15W"
    assert mode.fix.startswith("sudo nvpmodel -m 2 ")


def test_power_mode_defaults_to_the_configuration(nano: Host) -> None:
    nano.path("/var/lib/nvpmodel/status").unlink()
    assert named(power_findings(nano, []), "power mode").data["mode"] == "25W"
    nano.path("/var/lib/nvpmodel/status").write_text("pmode:0007")
    assert named(power_findings(nano, []), "power mode").mark == "unknown"
    nano.path("/var/lib/nvpmodel/status").write_text("pmode:0002")
    assert named(power_findings(nano, []), "power mode").mark == "ok"


def test_a_lower_clock_on_more_clusters_ranks_higher(tmp_path: Path) -> None:
    """Orin NX 8GB: 20W runs all clusters at 408 MHz, 15W half of them at 612."""
    modes = (
        "< POWER_MODEL ID=2 NAME=15W >\nTPC_POWER_GATING TPC_PG_MASK 252\nGPU MAX_FREQ 612000000\n"
        "< POWER_MODEL ID=3 NAME=20W >\nTPC_POWER_GATING TPC_PG_MASK 240\nGPU MAX_FREQ 408000000\n"
        "< PM_CONFIG DEFAULT=3 >\n"
    )
    write_files(tmp_path, {"etc/nvpmodel.conf": modes})
    assert named(power_findings(Host(root=tmp_path), []), "power mode").mark == "ok"


def test_missing_super_modes_are_told(nano: Host) -> None:
    conf = nano.path("/etc/nvpmodel.conf")
    conf.write_text(conf.read_text().replace("MAXN_SUPER", "MAXN"))
    assert "-super" in named(power_findings(nano, []), "Super modes").fix


def test_heat_near_the_trip_point_is_a_warning(nano: Host) -> None:
    heat = named(power_findings(nano, []), "temperature")
    assert heat.mark == "warning"
    assert heat.value == "97 C (gpu-thermal, clocks are cut at 99)"
    nano.path("/sys/class/thermal/thermal_zone1/temp").write_text("60000")
    assert named(power_findings(nano, []), "temperature").value == "60 C (gpu-thermal)"


def test_clocks(nano: Host, tmp_path: Path) -> None:
    loose = named(power_findings(nano, []), "GPU clock")
    assert (loose.mark, "jetson_clocks" in loose.fix) == ("info", True)
    held = named(power_findings(jetson_host(thor(tmp_path / "thor")), []), "GPU clock")
    assert (held.mark, held.value) == ("ok", "held at 1386 MHz")


@pytest.mark.parametrize(
    ("governor", "driver", "mark"),
    [("powersave", "acpi-cpufreq", "warning"), ("powersave", "intel_pstate", "info")],
)
def test_governor(tmp_path: Path, governor: str, driver: str, mark: str) -> None:
    folder = "sys/devices/system/cpu/cpu0/cpufreq/"
    write_files(
        tmp_path, {f"{folder}scaling_governor": governor, f"{folder}scaling_driver": driver}
    )
    assert named(power_findings(Host(root=tmp_path), []), "CPU governor").mark == mark


def test_thor(tmp_path: Path) -> None:
    host = jetson_host(thor(tmp_path), python=(3, 12))
    assert (host.l4t, host.jetpack) == ("38.4.0", "7.1")
    assert recognise(host, [{"name": "NVIDIA Thor", "sm": 110}])[0] == "thor"
    components = named(platform_findings(host), "JetPack components")
    assert components.fix == "sudo apt-get update && sudo apt-get install nvidia-jetpack"
    assert named(power_findings(host, []), "power mode").fix.startswith("sudo nvpmodel -m 0")
    found = tensorrt_findings(host, {}, True, "thor")
    assert named(found, "DLA").value == "this board has none"
    assert named(found, "TensorRT").fix == (
        "sudo apt-get install nvidia-tensorrt python3-libnvinfer"
    )
    assert "sbsa/cu130" in install_onnxruntime_gpu(host)


@pytest.mark.parametrize(
    ("text", "l4t", "jetpack"),
    [
        ("# R36 (release), REVISION: 5.0, GCID: 1", "36.5.0", "6.2.2"),
        ("# R39 (release), REVISION: 2.1, GCID: 1", "39.2.1", "7.2.1"),
        ("# R39 (release), REVISION: 9.9, GCID: 1", "39.9.9", "7.2?"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "35.4.1", "5?"),
    ],
)
def test_jetpack_of_l4t(tmp_path: Path, text: str, l4t: str, jetpack: str) -> None:
    write_files(tmp_path, {"etc/nv_tegra_release": text})
    host = jetson_host(tmp_path)
    assert (host.l4t, host.jetpack) == (l4t, jetpack)
    assert named(platform_findings(host), "JetPack").mark == (
        "warning" if jetpack.startswith("5") else "ok"
    )


def test_tensorrt_hidden_from_a_virtual_environment(nano: Host) -> None:
    assert install_tensorrt(nano).endswith("/home/user/venv/pyvenv.cfg")
    newer = dataclasses.replace(nano, python=(3, 11))
    assert "python3.10 -m venv --system-site-packages" in install_tensorrt(newer)
    system = dataclasses.replace(nano, in_venv=False)
    assert install_tensorrt(system).startswith(
        "sudo apt-get install --reinstall python3-libnvinfer"
    )
    findings = tensorrt_findings(nano, {}, False, "orin-nano")
    assert named(findings, "JetPack's TensorRT").value == "10.3.0.30"
    assert named(findings, "TensorRT").mark == "missing"
    assert named(findings, "TensorRT-RTX").value == "does not exist for Jetson"


def test_a_missing_dla_compiler_is_known(nano: Host) -> None:
    """TensorRT of JetPack 6 does not load without; JetPack 7.2 has it in no package."""
    words = "libnvdla_compiler.so: cannot open shared object file: No such file or directory"
    outcome = Outcome(({"error": f"ImportError: {words}"},), "", False, "")

    def fix(host: Host) -> str:
        found = tensorrt_findings(host, {"tensorrt:tensorrt": outcome}, True, None)
        assert words in named(found, "TensorRT").value
        return named(found, "TensorRT").fix

    assert fix(nano) == "sudo apt-get install nvidia-l4t-dla-compiler"
    nano.path("/etc/nv_tegra_release").write_text("# R39 (release), REVISION: 2.0, GCID: 1\n")
    nano.path("/var/lib/dpkg/status").write_text("")
    seven = dataclasses.replace(nano)
    assert seven.jetpack == "7.2"
    assert "take JetPack's own TensorRT" in fix(seven)
    (nano.root / ".dockerenv").write_text("")
    assert "start from an image made for it" in fix(dataclasses.replace(nano))


def test_orin_nano_has_no_encoder(nano: Host) -> None:
    pyav = Outcome(({"version": "17.1.0", "ffmpeg": "8.0"},), "", False, "")
    found = video_findings(nano, pyav, "orin-nano", False)
    assert named(found, "hardware encoder").mark == "warning"
    plugins = named(found, "GStreamer plugins")
    assert plugins.data["plugins"] == ["nvvideo4linux2"]
    assert "nvarguscamerasrc" in plugins.value
    assert "nvidia-l4t-gstreamer" in plugins.fix
    other = video_findings(nano, pyav, "orin-nx", False)
    assert named(other, "hardware encoder").value.startswith("h264, hevc by GStreamer")


def test_dla_depends_on_the_tensorrt(nano: Host) -> None:
    def dla(*lines: dict[str, object]) -> Finding:
        outcome = {"tensorrt:tensorrt": Outcome(lines, "", False, "")}
        return named(tensorrt_findings(nano, outcome, True, "orin-nx"), "DLA")

    version = {"version": "10.3.0", "sees_gpu": True}
    assert dla(version, {"dla_cores": 2}).mark == "ok"
    assert "does not use them" in dla(version, {"dla_cores": 0}).value
    assert "is not known" in dla(version).value


def test_a_container_on_a_jetson_without_the_runtime(nano: Host) -> None:
    nano.path("/.dockerenv").touch()
    outcome = Outcome(({"error": "no CUDA driver"},), "", False, "")
    gpu = named(gpu_findings(nano, [], outcome, None), "GPU")
    assert gpu.mark == "missing"
    assert "--runtime nvidia" in gpu.fix
    assert named(platform_findings(nano), "container").value.startswith("inside docker")
    plain = dataclasses.replace(nano, root=nano.root / "empty")
    assert "--runtime" not in install_driver(plain)


def test_toolkit_is_named(nano: Host) -> None:
    found = gpu_findings(nano, [], None, None)
    assert named(found, "CUDA toolkit").value == "12.6.11"


def test_container_memory_limit(nano: Host) -> None:
    write_files(nano.root, {"sys/fs/cgroup/memory.max": "536870912\n"})
    memory = named(platform_findings(nano), "memory")
    assert memory.mark == "warning"
    assert memory.data["total_bytes"] == 536870912
    assert "limited by the container" in memory.value


@pytest.mark.parametrize(
    ("libc", "words"), [(("glibc", "2.27"), "older than 2.28"), (("", ""), "not glibc")]
)
def test_systems_wheels_do_not_load_on(tmp_path: Path, libc: tuple[str, str], words: str) -> None:
    host = dataclasses.replace(Host(root=tmp_path), libc=libc, system="Linux")
    finding = named(platform_findings(host), "C library")
    assert finding.mark == "warning"
    assert words in finding.value


@pytest.mark.usefixtures("no_gpu")
def test_an_empty_machine_is_no_error(tmp_path: Path) -> None:
    """Nothing readable at all: lines, not exceptions."""
    report = examine(Host(root=tmp_path / "nothing"), wait_s=LONG_S)
    assert report.verdict.target == "cpu"
    assert not [each for each in report.findings if "probe failed" in each.value]
