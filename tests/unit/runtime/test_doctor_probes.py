"""The doctor's probes: real ones on this machine, fake drivers, children that crash and hang."""

from __future__ import annotations

import importlib
import io
import sys
import textwrap
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import onnxruntime
import pytest

from adcvsr.host.machine import Host
from adcvsr.runtime.doctor import child as doctor_child
from adcvsr.runtime.doctor import doctor
from adcvsr.runtime.doctor import gpu as doctor_gpu
from adcvsr.runtime.doctor import ort as doctor_ort
from adcvsr.runtime.doctor import packages as doctor_packages
from adcvsr.runtime.doctor import power as doctor_power
from adcvsr.runtime.doctor import tensorrt as doctor_tensorrt
from adcvsr.runtime.doctor import video as doctor_video
from adcvsr.runtime.doctor.backend_verdict import give_verdict
from adcvsr.runtime.doctor.children import Children, Outcome
from adcvsr.runtime.doctor.fixes import CUDA_12_WHEELS
from adcvsr.runtime.doctor.gpu import driver_failure
from adcvsr.runtime.doctor.text import report_lines
from adcvsr.targets import recognise
from board_files import write_files

HOST = Host(root=Path("/nonexistent"), machine="x86_64", system="Linux", libc=("glibc", "2.36"))


class FakeCuda:
    """The calls of libcuda the probe makes, answered for an RTX 4090."""

    def __init__(self, answer: int = 0) -> None:
        self.answer = answer
        self.attributes = {16: 128, 18: 0, 75: 8, 76: 9}

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's names
        return self.answer

    def cuDriverGetVersion(self, version: Any) -> None:  # noqa: N802
        version._obj.value = 12040

    def cuDeviceGetCount(self, count: Any) -> None:  # noqa: N802
        count._obj.value = 1

    def cuDeviceGet(self, device: Any, index: int) -> None:  # noqa: N802
        device._obj.value = index

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:  # noqa: N802
        name.value = b"NVIDIA GeForce RTX 4090"

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> None:  # noqa: N802
        memory._obj.value = 25_386_352_640

    def cuDeviceGetAttribute(self, value: Any, number: int, device: Any) -> None:  # noqa: N802
        value._obj.value = self.attributes[number]


def fake_nvml() -> types.ModuleType:
    """pynvml as it answers for an RTX 4090 that is too hot."""
    nvml: Any = types.ModuleType("pynvml")
    nvml.NVMLError = type("NVMLError", (Exception,), {})
    nvml.NVML_CLOCK_SM, nvml.NVML_TEMPERATURE_GPU = 1, 0

    memory = types.SimpleNamespace(total=25_757_220_864, free=24_000_000_000)
    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: b"580.65.06",
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: "NVIDIA GeForce RTX 4090",
        "nvmlDeviceGetMemoryInfo": lambda handle: memory,
        "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 9),
        "nvmlDeviceGetClockInfo": lambda handle, kind: 1800,
        "nvmlDeviceGetMaxClockInfo": lambda handle, kind: 3105,
        "nvmlDeviceGetPowerUsage": lambda handle: 300_000,
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 450_000,
        "nvmlDeviceGetTemperature": lambda handle, kind: 91,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x21,
    }
    for name, answer in answers.items():
        setattr(nvml, name, answer)
    return nvml


def outcome_of(probe: Any, *arguments: Any) -> Outcome:
    lines: list[dict[str, Any]] = []
    probe(lambda **values: lines.append(values), *arguments)
    return Outcome(tuple(lines), "", False, "")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> tuple[Outcome, Outcome]:
    """What both GPU probes find on a machine with an RTX 4090."""
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    return outcome_of(doctor_gpu.probe_cuda, FakeCuda()), outcome_of(doctor_gpu.probe_nvml)


def test_rtx_4090_by_cuda_and_nvml(card: tuple[Outcome, Outcome]) -> None:
    gpus = doctor_gpu.merge_gpus(*card)
    (gpu,) = gpus
    assert gpu["sm"] == 89
    assert gpu["multiprocessors"] == 128
    assert gpu["memory_bytes"] == 25_386_352_640  # CUDA's figure: what a program can have
    assert gpu["throttling"] == ["too hot (software limit)"]
    findings = doctor_gpu.gpu_findings(HOST, gpus, *card)
    assert findings[0].value == "NVIDIA GeForce RTX 4090, SM 8.9, has FP8, 25.4 GB, 24.0 GB free"
    assert findings[1].value == "580.65.06 for CUDA up to 12.4"
    assert recognise(HOST, gpus) == ("rtx-4090", "'NVIDIA GeForce RTX 4090'")


def test_a_hot_card_is_a_warning(card: tuple[Outcome, Outcome]) -> None:
    (finding,) = doctor_power.power_findings(HOST, doctor_gpu.merge_gpus(*card))
    assert finding.mark == "warning"
    assert finding.value.startswith("1800 of 3105 MHz, 300 of 450 W, 91 C; slowed: too hot")


def test_what_nvml_does_not_answer_is_left_out(
    card: tuple[Outcome, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(handle: object) -> None:
        raise sys.modules["pynvml"].NVMLError("Not Supported")

    monkeypatch.setattr(sys.modules["pynvml"], "nvmlDeviceGetPowerUsage", unsupported)
    gpus = doctor_gpu.merge_gpus(card[0], outcome_of(doctor_gpu.probe_nvml))
    (finding,) = doctor_power.power_findings(HOST, gpus)
    assert "limit 450 W" in finding.value
    assert "power_w" not in finding.data


def test_nvml_alone_shows_the_card_and_says_cuda_does_not(card: tuple[Outcome, Outcome]) -> None:
    cuda = outcome_of(doctor_gpu.probe_cuda, FakeCuda(803))
    gpus = doctor_gpu.merge_gpus(cuda, card[1])
    (finding,) = [
        f for f in doctor_gpu.gpu_findings(HOST, gpus, cuda, card[1]) if f.name == "CUDA driver"
    ]
    assert "different versions" in finding.value
    assert finding.mark == "missing"


@pytest.mark.parametrize(
    ("name", "sm", "target", "words"),
    [
        ("NVIDIA GeForce RTX 3060", 86, "rtx-30", "'NVIDIA GeForce RTX 3060'"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 89, "rtx-40", "not in the table; taken by its SM"),
        ("NVIDIA H100 80GB HBM3", 90, "h100", "'NVIDIA H100"),
        ("NVIDIA A100-SXM4-40GB", 80, None, "not in the table"),
    ],
)
def test_cards_by_name_and_by_capability(
    name: str, sm: int, target: str | None, words: str
) -> None:
    found, note = recognise(HOST, [{"name": name, "sm": sm}])
    assert found == target
    assert words in note


def test_tiny_model_is_valid_and_right() -> None:
    model = onnx.load_from_string(doctor_ort.tiny_model())
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        doctor_ort.tiny_model(), providers=["CPUExecutionProvider"]
    )
    picture = np.ones((1, 1, 4, 4), np.float32)
    assert np.array_equal(session.run(None, {"x": picture})[0], 2 * picture)


def test_cpu_provider_really_runs() -> None:
    outcome = outcome_of(doctor_ort.probe_onnxruntime)
    assert outcome.get("version") == onnxruntime.__version__
    findings = doctor_ort.ort_findings(HOST, {"onnxruntime": outcome}, False)
    assert [f.mark for f in findings if f.name == "CPU provider"] == ["ok"]


def test_wrong_numbers_are_not_a_running_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def __init__(self, *arguments: object, **options: object) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

        def run(self, names: None, feed: dict[str, Any]) -> list[Any]:
            return [feed["x"]]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    outcome = outcome_of(doctor_ort.probe_provider, doctor_ort.CPU)
    assert (outcome.get("runs"), outcome.get("reason")) == (False, "it computed wrong numbers")
    outcome = outcome_of(doctor_ort.probe_provider, doctor_ort.CUDA)
    assert outcome.get("reason") == "the session took CPUExecutionProvider instead"


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            "[E] Failed to load library libx.so with error: libcublasLt.so.13: cannot open shared "
            "object file: No such file or directory",
            "onnxruntime-gpu[cuda,cudnn]",
        ),
        ("CUDA failure 209: no kernel image is available for execution", "adcvsr[cuda]"),
    ],
)
def test_a_provider_that_fails_names_what_is_missing(stderr: str, words: str) -> None:
    base = Outcome(({"version": "1.31.1", "available": [doctor_ort.CUDA]},), "", False, "")
    failed = Outcome(({"error": "Fail: no"},), "", False, stderr)
    outcomes = {"onnxruntime": base, f"provider:{doctor_ort.CUDA}": failed}
    (cuda,) = [
        f for f in doctor_ort.ort_findings(HOST, outcomes, True) if f.name == "CUDA provider"
    ]
    assert cuda.mark == "missing"
    assert words in cuda.fix
    assert stderr[-20:] in cuda.value


def test_wheels_built_for_numpy_1_are_told_apart() -> None:
    stderr = "A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.2.6 as it may"
    broken = Outcome(({"error": "ImportError: numpy.core.multiarray failed"},), "", False, stderr)
    found = doctor_ort.ort_findings(HOST, {"onnxruntime": broken}, False)
    assert found[-1].fix == "pip install 'numpy<2'"
    trt = doctor_tensorrt.tensorrt_findings(HOST, {"tensorrt:tensorrt": broken}, True, None)
    assert trt[0].fix == "pip install 'numpy<2'"


def test_tensorrt_that_does_not_fit_the_driver() -> None:
    stderr = "[11/23/2026-09:31:56] [TRT] [E] CUDA initialization failure with error: 35\n"
    lines = ({"version": "10.3.0"}, {"error": "TypeError: factory function returned nullptr"})
    outcome = {"tensorrt:tensorrt": Outcome(lines, "", False, stderr)}
    found = doctor_tensorrt.tensorrt_findings(HOST, outcome, True, None)[0]
    assert found.value == "10.3.0, does not start: CUDA initialization failure with error: 35"
    assert "driver" in found.fix


def test_a_driver_of_cuda_12_is_told_its_wheels(card: tuple[Outcome, Outcome]) -> None:
    """The index's wheels are of CUDA 13; install.md has the same lines."""
    gpus = doctor_gpu.merge_gpus(*card)
    (found,) = [f for f in doctor_gpu.gpu_findings(HOST, gpus, *card) if f.name == "CUDA 12"]
    assert found.mark == "warning"
    assert "serves CUDA 12.4" in found.value
    page = (Path(__file__).resolve().parents[3] / "docs" / "install.md").read_text()
    for line in CUDA_12_WHEELS.values():
        assert line in found.fix
        assert line in page
    newer = Outcome(
        tuple(
            {**line, "driver_cuda": "13.0"} if "driver_cuda" in line else line
            for line in card[0].lines
        ),
        "",
        False,
        "",
    )
    names = {f.name for f in doctor_gpu.gpu_findings(HOST, gpus, newer, card[1])}
    assert "CUDA 12" not in names


def test_extras_are_read_from_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor_packages.package_findings(HOST, outcome_of(doctor_packages.probe_adcvsr))
    assert "cpu" in finding[-1].data["complete"]
    assert finding[0].data["backends"]
    monkeypatch.setattr(doctor_packages, "installed_version", lambda name: None)
    bare = doctor_packages.package_findings(HOST, None)
    assert bare[-1].data["complete"] == []
    assert "av missing" in bare[1].value
    arm = Host(root=HOST.root, machine="aarch64")
    packages = {each.package for each in doctor_packages.read_requirements(arm)}
    assert "onnxruntime" in packages
    assert "tensorrt-rtx" not in packages


def test_verdict_of_a_card_whose_tensorrt_runs(card: tuple[Outcome, Outcome]) -> None:
    gpus = doctor_gpu.merge_gpus(*card)
    outcomes = {
        "tensorrt:tensorrt": Outcome(({"version": "11.4.0", "sees_gpu": True},), "", False, ""),
        "tensorrt:tensorrt_rtx": Outcome(({"version": "1.7.1"},), "did not finish", True, ""),
    }
    findings = doctor_tensorrt.tensorrt_findings(HOST, outcomes, True, "rtx-4090")
    verdict = give_verdict(HOST, gpus, findings, recognise(HOST, gpus))
    states = {each.name: (each.runs, each.precisions) for each in verdict.backends}
    assert states["tensorrt"] == ("yes", ("fp32", "tf32", "fp16", "bf16", "int8", "fp8"))
    assert states["tensorrt-rtx"] == ("unknown", ("fp32", "tf32", "fp16", "bf16", "fp8"))
    assert states["ort-cuda"][0] == "no"


def test_tensorrt_without_what_sessions_reach_the_gpu_through(
    card: tuple[Outcome, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT runs and adcvsr could not: a Jetson's own TensorRT comes without cuda-bindings."""
    gpus = doctor_gpu.merge_gpus(*card)
    lines = ({"version": "10.3.0", "bindings": False, "sees_gpu": True},)
    outcomes = {"tensorrt:tensorrt": Outcome(lines, "", False, "")}
    findings = doctor_tensorrt.tensorrt_findings(HOST, outcomes, True, "rtx-4090")
    verdict = give_verdict(HOST, gpus, findings, recognise(HOST, gpus))
    (tensorrt,) = (each for each in verdict.backends if each.name == "tensorrt")
    assert (tensorrt.runs, tensorrt.fix) == ("no", "pip install 'adcvsr[tensorrt]'")
    assert "'cuda-bindings', not installed" in tensorrt.why
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    assert not doctor_tensorrt._has_bindings()


@pytest.mark.parametrize(
    ("ended", "lines", "runs", "words"),
    [
        ("did not finish in time", (), "unknown", "--wait 30"),
        ("crashed with SIGSEGV", (), "no", "crashed with SIGSEGV"),
        ("", ({"error": "driver and CUDA library differ", "code": 803},), "no", "differ"),
    ],
)
def test_a_driver_without_an_answer_is_not_taken_for_no_gpu(
    ended: str, lines: tuple[dict[str, Any], ...], runs: str, words: str
) -> None:
    cuda = Outcome(lines, ended, "finish" in ended, "")
    target, note = recognised = recognise(HOST, [], driver_failure(cuda))
    assert target is None
    assert words in note
    findings = doctor_gpu.gpu_findings(HOST, [], cuda, None)
    findings += doctor_tensorrt.tensorrt_findings(HOST, {}, False, None)
    verdict = give_verdict(HOST, [], findings, recognised)
    for backend in verdict.backends[:3]:
        assert backend.runs == runs
        assert words in backend.why
    assert verdict.backends[2].fix == ("" if runs == "unknown" else findings[0].fix)


@pytest.mark.parametrize("line", [{"error": "no CUDA driver"}, {"error": "none", "code": 100}])
def test_a_driver_that_says_none_settles_it(line: dict[str, Any]) -> None:
    cuda = Outcome((line,), "", False, "")
    assert recognise(HOST, [], driver_failure(cuda)) == ("cpu", "no GPU")
    verdict = give_verdict(HOST, [], [], ("cpu", "no GPU"))
    assert {each.why for each in verdict.backends[:3]} == {"needs an NVIDIA GPU"}


def test_a_verdict_that_fails_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(doctor, "give_verdict", broken)
    report = doctor.examine(HOST, wait_s=0.0)
    assert "--wait 30" in list(report_lines(report, lambda text, colour: text))[-1]
    assert report.verdict.target is None
    (finding,) = [each for each in report.findings if each.name == "verdict"]
    assert finding.value == "this probe failed: RuntimeError: two lines"


def test_the_clip_for_the_codecs_is_a_clip() -> None:
    """What NVENC and NVDEC are tried with works with x264, so a failure is the GPU's."""
    clip = doctor_video._encode(av, "libx264")
    with av.open(io.BytesIO(clip)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 8
    assert (frames[0].width, frames[0].height) == doctor_video.SIZE
    assert abs(frames[3].to_ndarray(format="gray8").mean() - 128) < 20  # RGB range or not


def test_codecs_without_a_gpu_are_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise OSError("first line\nsecond line")

    answer = doctor_video._attempt("nvdec", fails)
    assert answer == {"nvdec": False, "nvdec_reason": "OSError: first line"}
    monkeypatch.setattr(doctor_video, "DRIVER_LIBRARIES", ("libnothing.so.1",))
    outcome = outcome_of(doctor_video.probe_video)
    pyav, nvenc, nvdec = doctor_video.video_findings(HOST, outcome, "cpu", False)
    assert pyav.data["version"] == av.__version__
    assert "cuda" in pyav.data["hwaccels"]
    assert {nvenc.value, nvdec.value} == {"no GPU to try it on"}


def test_a_clip_is_really_encoded_opened_and_decoded() -> None:
    outcome = outcome_of(doctor_video.probe_video)
    pyav = doctor_video.video_findings(HOST, outcome, "cpu", False)[0]
    assert (pyav.mark, pyav.data["clip"]) == ("ok", True)
    assert "encoded, opened, decoded" in pyav.value


def _refused(*arguments: Any, **options: Any) -> None:
    raise av.ArgumentError(22, "the encoder takes nothing")


def _black(clip: Any) -> list[np.ndarray]:
    return [np.zeros((64, 64, 3), np.uint8)] * 4


@pytest.mark.parametrize(
    ("part", "broken", "said"),
    [
        ("clips.write_clip", _refused, "the encoder takes nothing"),
        ("clips.read_clip", _black, "came back as levels [0.0, 0.0, 0.0, 0.0]"),
        ("pyav.side_data_names", _refused, "the encoder takes nothing"),
    ],
)
def test_a_pyav_that_loads_and_does_not_work_is_said(
    part: str, broken: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"adcvsr.pictures.{part}", broken)
    outcome = outcome_of(doctor_video.probe_video)
    pyav = doctor_video.video_findings(HOST, outcome, "cpu", False)[0]
    assert (pyav.mark, pyav.data["clip"]) == ("missing", False)
    assert "a small clip does not come back" in pyav.value
    assert said in pyav.value
    assert pyav.fix == "pip install --force-reinstall 'av>=17.1'"


@pytest.mark.gpu
def test_a_real_gpu_decodes() -> None:
    assert doctor_video._attempt("nvdec", lambda: doctor_video._decode(av)) == {"nvdec": True}


@pytest.fixture
def fake_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a package `tensorrt` with the given body where children look first."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda body: write_files(tmp_path, {"tensorrt/__init__.py": textwrap.dedent(body)})


def test_a_crash_keeps_what_was_found(fake_tensorrt: Callable[[str], None]) -> None:
    fake_tensorrt("""
        __version__ = "10.3.0"
        class Logger:
            ERROR = 0
            def __init__(self, level):
                import os, signal
                print("noise on the output")
                os.kill(os.getpid(), signal.SIGSEGV)
    """)
    with Children() as children:
        children.start("tensorrt", "tensorrt")
        outcomes = children.collect(time.monotonic() + 60)
    outcome = outcomes["tensorrt:tensorrt"]
    assert outcome.get("version") == "10.3.0"
    assert outcome.ended == "crashed with SIGSEGV"
    found = doctor_tensorrt.tensorrt_findings(HOST, outcomes, True, None)[0]
    assert found.mark == "missing"
    assert "crashed with SIGSEGV" in found.value


def test_a_hang_is_cut_short_and_leaves_no_process(
    fake_tensorrt: Callable[[str], None], tmp_path: Path
) -> None:
    fake_tensorrt(f"""
        import os, subprocess, sys, time
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open({str(tmp_path / "part")!r}, "w") as file:
            file.write(f"{{os.getpid()}} {{other.pid}}")
        os.rename({str(tmp_path / "part")!r}, {str(tmp_path / "pids")!r})
        time.sleep(600)
    """)
    with Children() as children:
        children.start("tensorrt", "tensorrt")
        wait_for((tmp_path / "pids").exists, "the child does not start")
        outcomes = children.collect(time.monotonic())
    outcome = outcomes["tensorrt:tensorrt"]
    assert (outcome.late, outcome.ended) == (True, "did not finish in time")
    for pid in (tmp_path / "pids").read_text().split():
        wait_for(lambda pid=pid: not alive(int(pid)), "a process was left behind")
    assert doctor_tensorrt.tensorrt_findings(HOST, outcomes, True, None)[0].mark == "unknown"


def wait_for(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be collected by its new parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_that_cannot_start_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with Children() as children:
        children.start("cuda")
        assert "could not be started" in children.collect(time.monotonic() + 5)["cuda"].ended


def test_no_driver_on_a_machine_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_gpu, "DRIVER_LIBRARIES", ("libnothing.so.1",))
    outcome = outcome_of(doctor_gpu.probe_cuda)
    assert outcome.get("error") == "no CUDA driver"
    (gpu,) = doctor_gpu.gpu_findings(HOST, [], outcome, None)
    assert gpu.mark == "info"


def test_every_probe_exists() -> None:
    for module, function in doctor_child.PROBES.values():
        assert callable(
            getattr(importlib.import_module(f"adcvsr.runtime.doctor.{module}"), function)
        )


@pytest.mark.gpu
def test_a_real_gpu_is_seen_by_cuda() -> None:
    gpus = outcome_of(doctor_gpu.probe_cuda).get("gpus")
    assert gpus[0]["sm"] >= 75
    assert gpus[0]["memory_bytes"] > 1 << 30
