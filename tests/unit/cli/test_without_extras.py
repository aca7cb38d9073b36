from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from without_extras import Call, calls, missing_commands, prepare, run_call

from adcvsr.cli._torch import require_export
from adcvsr.errors import EXTRA_OF, MissingPackageError, missing_by_name, missing_package
from adcvsr.metrics.temporal import require_opencv


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    folder = tmp_path_factory.mktemp("calls")
    prepare(folder)
    return calls(folder)


def wrong(found: Iterable[Call]) -> dict[str, str]:
    """What is wrong with each call, where the optional packages look missing."""
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda call: (call, run_call(call, block=True)), found)
        return {" ".join(call.arguments): result for call, result in results if result}


def test_every_command_is_called(found: list[Call]) -> None:
    assert not missing_commands(found)


def test_what_lacks_an_extra_names_it_and_counting_needs_none(found: list[Call]) -> None:
    quick = [call for call in found if call.is_quick]
    assert {call.extra for call in quick} == {None, "export", "rtx", "train"}
    assert wrong(quick) == {}


@pytest.mark.slow
def test_what_runs_a_network_works(found: list[Call]) -> None:
    working = [call for call in found if not call.is_quick]
    assert len(working) > 8
    assert wrong(working) == {}


def test_the_extra_of_a_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pip install 'adcvsr[export]'" in str(missing_by_name("onnx.reference"))
    assert missing_by_name("json") is None
    assert missing_by_name(None) is None
    assert "/whl/cpu" in str(missing_package("torch", "train", "training"))
    assert "/whl/cpu" not in str(missing_package("onnx", "export", "adopting"))  # torch is here
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "/whl/cpu" in str(missing_package("onnx", "export", "adopting"))
    assert "/whl/cpu" not in str(missing_package("ray", "ray", "--ray"))
    with pytest.raises(MissingPackageError, match="'adcvsr adopt' needs the package 'torch'"):
        require_export("adopt")
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in set(EXTRA_OF.values()))


def test_a_package_of_the_base_is_named() -> None:
    """`pip install --no-deps`, or an environment that lost a package; click even draws errors."""
    assert "'numpy', which is not installed: pip install" in str(missing_by_name("numpy.linalg"))
    code = "import sys; sys.modules['click'] = None; from adcvsr.cli.start import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: adcvsr needs the package 'click', which is not installed: pip ")


def test_a_package_that_cannot_be_imported_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenCV where the system has no libGL, or a wheel that was built for another numpy."""
    reason = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({reason!r}, name='cv2')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    with pytest.raises(MissingPackageError, match=r"cannot be imported \(libGL\.so\.1: ") as told:
        require_opencv()
    assert "not installed" not in str(told.value)
    assert "pip install --force-reinstall opencv-python-headless" in str(told.value)
