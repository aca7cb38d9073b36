"""The public names, and what importing must not load."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import adcvsr
from adcvsr.cli.commands import COMMANDS

HEAVY = ("torch", "onnx", "onnxruntime", "av", "numpy", "rich", "cv2", "tensorrt", "tensorrt_rtx")


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_public_names() -> None:
    assert {"Upscaler", "open_bundle", "open_sink", "open_source", "LiveRun"} <= set(adcvsr.__all__)
    assert adcvsr.__all__ == sorted(adcvsr.__all__, key=lambda name: (not name.isupper(), name))
    for name in adcvsr.__all__:
        assert getattr(adcvsr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = adcvsr.nonsense


STAGES = ("pretrain", "distill", "adversarial", "cache-teacher", "show-data")


def test_help_needs_no_heavy_package() -> None:
    """Every --help works where the heavy packages cannot even be imported."""
    commands = [(), *[(name,) for name in COMMANDS], *[("train", stage) for stage in STAGES]]
    out = run_python(f"""
        import sys
        for name in {HEAVY}:
            sys.modules[name] = None
        from adcvsr.cli.commands import cli
        for command in {commands}:
            try:
                cli([*command, "--help"])
            except SystemExit as done:
                assert done.code == 0, command
    """)
    assert out.count("Usage:") == len(commands)


def test_upscaling_never_imports_torch() -> None:
    """The device has no torch: a whole run works with torch and onnx blocked."""
    out = run_python("""
        import sys
        sys.modules["torch"] = sys.modules["onnx"] = None
        import numpy as np, adcvsr
        import adcvsr.runtime.demo
        with adcvsr.Upscaler("nano") as upscaler:
            print(upscaler(np.zeros((5, 7, 3), np.uint8)).shape)
    """)
    assert out.strip() == "(20, 28, 3)"


def test_evaluating_needs_neither_torch_nor_opencv(tmp_path: Path) -> None:
    """A board measures bundles with numpy alone; what needs OpenCV is left out with a line."""
    out = run_python(f"""
        import sys
        sys.modules["torch"] = sys.modules["onnx"] = sys.modules["cv2"] = None
        from pathlib import Path
        from adcvsr.pictures.clips import write_png
        from adcvsr.pictures.synthetic import draw_clip
        write_png(Path({str(tmp_path / "a.png")!r}), draw_clip(1, 64, 64)[0])
        from adcvsr.cli.commands import cli
        cli(["evaluate", {str(tmp_path)!r}, "--metrics", "all"], standalone_mode=False)
    """)
    assert "HaarPSI" in out
    assert "warp" not in out


def test_help_line_of_every_command() -> None:
    """The lines held in COMMANDS exist as commands with a help text of their own."""
    out = run_python("""
        from adcvsr.cli.commands import COMMANDS, load_command
        for name in COMMANDS:
            assert load_command(name).help, name
        print("ok")
    """)
    assert out.strip() == "ok"
