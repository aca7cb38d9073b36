"""What an owner of a board sends: the figures, and nothing that says who and where."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import cli
from adcvsr.errors import BenchError
from adcvsr.host.machine import Host
from adcvsr.runtime.report import received
from adcvsr.runtime.report.anonymous import GENERIC, Anonymous
from adcvsr.runtime.report.received import read_report
from adcvsr.runtime.report.report import ReportOptions, Step, plan_report, write_report

REPOSITORY = Path(__file__).resolve().parents[3]
USER, HOST, ADDRESS = "marialovelace", "mariasboard", "192.168.77.3"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user, a machine, and a home folder with a bundle in it."""
    home = tmp_path / "home" / USER
    shutil.copytree(open_bundle("nano").path, home / "my-nano")
    for name, value in (("HOME", home), ("USER", USER), ("LOGNAME", USER), ("HOSTNAME", HOST)):
        monkeypatch.setenv(name, str(value))
    return home


def test_a_report_of_a_machine_without_gpu(home: Path, tmp_path: Path) -> None:
    """The CPU's figures are in it and can be read again; user, host and home are not."""
    options = ReportOptions(
        bundles=[str(home / "my-nano")],
        sizes=[(32, 32)],
        seconds=0.1,
        backends={"ort-cpu": ("fp32", "int8")},
    )
    planned = plan_report(options)
    assert [step.name for step in planned] == ["doctor", "bench-nano-32x32-ort-cpu", "doctor-after"]
    bench = planned[1]
    assert bench.arguments[1] == str(home / "my-nano")
    wrong = f"rtsp://{USER}:hunter22@{ADDRESS}/{HOST}"
    steps = [
        planned[0],
        replace(bench, arguments=(*bench.arguments, "--no-start", "--variant", "fp32")),
        Step("refused", ("live", "--source", wrong, "--sink", "null://"), 60.0),
    ]
    path, said = tmp_path / "report.zip", []
    index = write_report(path, steps, note=said.append)
    assert [step["exit"] for step in index["steps"]][:2] == [0, 0]
    assert index["steps"][2]["exit"] != 0
    assert len(said) == 3

    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {"README.txt", "steps.json", "logs/refused.txt", "layers-nano-32x32-ort-cpu.json"} < (
        texts.keys()
    )
    own = {getpass.getuser(), socket.gethostname()} - GENERIC
    for name, text in texts.items():
        for secret in (USER, HOST, ADDRESS, "hunter22", str(home), *own):
            assert not re.search(rf"(?i)(?<![a-z0-9]){re.escape(secret)}(?![a-z0-9])", text), name
    assert "~/my-nano" in texts["steps.json"]
    for line in ("names of users", "bench-*.json", "3 commands, 1 failed: refused."):
        assert line in texts["README.txt"]

    report = read_report(path)
    (result,) = report.results.values()
    assert [row["variant"] for row in result["variants"]] == ["fp32-onnx"]
    assert report.doctor["schema"] == 1
    command = [sys.executable, REPOSITORY / "benchmarks/add_report.py", path, "--machine", "mine"]
    into = tmp_path / "results"
    into.mkdir()
    for code in (0, 1):  # not over what is there
        done = subprocess.run(
            [*command, "--into", into], capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
    kept = json.loads((into / "mine-nano-32x32-ort-cpu.json").read_text())
    assert kept["variants"] == result["variants"]
    assert "is there already" in done.stderr


def test_the_list_alone(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.zip"
    arguments = ["report", "--dry-run", "-o", str(path), "--size", "64x48"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    for name in ("nano", "nano-camera", "small"):
        assert f"adcvsr bench {name} --backend ort-cpu --size 64x48" in done.stdout
    assert not path.exists()
    listed = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert listed["steps"][0]["name"] == "doctor"


def test_engines_are_deployed_in_each_precision() -> None:
    """Of those the bundle has and the GPU computes: an Orin has no FP8."""
    runs = {"tensorrt": ("fp32", "fp16", "int8")}
    options = ReportOptions(bundles=["small"], sizes=[(320, 180)], backends=runs)
    names = [step.name for step in plan_report(options)]
    assert names[1:-1] == [
        *(f"deploy-small-320x180-tensorrt-{each}" for each in ("int8", "fp16", "fp32")),
        "bench-small-320x180-tensorrt",
    ]


def test_what_is_taken_out_of_a_text(tmp_path: Path) -> None:
    table = "  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.2.3\n        /32 host LOCAL\n"
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/fib_trie").write_text(table)
    (tmp_path / "proc/net/if_inet6").write_text(
        "fe8000000000000002155dfffe3a1b2c 02 40 20 80 eth0\n"
    )
    own = Anonymous.of_this_machine(Host(root=tmp_path))
    assert own("10.1.2.3 and TensorRT 10.3.0.30") == "<address> and TensorRT 10.3.0.30"
    assert own("fe80::215:5dff:fe3a:1b2c up") == "<address> up"
    clean = Anonymous({"maria", "nvidia"}, {"ada-board"}, {("/home/maria", "~")})
    assert clean("/home/maria/x /home/else/y") == "~/x ~/y"
    assert clean("maria on ada-board, maria@pc: nvidia-l4t-core, marian") == (
        "<user> on <host>, <user>@pc: nvidia-l4t-core, marian"
    )
    assert clean("nvidia@board 02:15:5d:3a:1b:2c") == "<user>@board <address>"
    gpu = "GPU-5a1c5e1f-aaaa-bbbb-cccc-0123456789ab"
    assert json.loads(clean.clean_json(json.dumps({"maria": [gpu, 3, None, {"token": "x"}]}))) == {
        "<user>": ["<serial>", 3, None, {"token": "x"}]
    }
    assert clean.clean_json("maria, no JSON") == "<user>, no JSON"


def test_what_is_no_report_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.zip"
    with pytest.raises(BenchError, match="is no report"):
        read_report(path)
    path.write_bytes(b"no zip")
    with pytest.raises(BenchError, match="is no report"):
        read_report(path)
    for text, words in (
        ("{", "not valid JSON"),
        (json.dumps({"schema": 9, "steps": []}), "reads 1"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("steps.json", text)
        with pytest.raises(BenchError, match=words):
            read_report(path)
    monkeypatch.setattr(received, "LARGEST_BYTES", 1000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bench-1.json", bytes(1001))
    with pytest.raises(BenchError, match="a report has at most"):
        read_report(path)


def test_a_step_that_hangs_is_ended_and_told(tmp_path: Path) -> None:
    step = Step("hangs", ("live", "--source", "test://", "--sink", "null://"), 0.5)
    index = write_report(tmp_path / "report.zip", [step])
    assert index["steps"][0]["too_slow"]
