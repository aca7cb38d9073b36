"""The wheel holds the package and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_wheel_content(tmp_path: Path) -> None:
    """One top-level name; every stage, the shipped bundle, the recipes, the type marker."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(REPOSITORY)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"adcvsr"}
    sources = {path.relative_to(REPOSITORY) for path in _sources()}
    expected = {str(Path("adcvsr") / _inside(path)) for path in sources}
    assert expected <= set(names)
    stale = {name for name in names if name.endswith(".py")} - expected
    assert not stale, f"left over in build/, remove that folder: {stale}"
    assert not [n for n in names if n.split("/")[-1].startswith(("test_", "conftest"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def _sources() -> list[Path]:
    found = [REPOSITORY / "src/adcvsr" / name for name in ("py.typed", "plan/preset_costs.json")]
    found += (REPOSITORY / "export/recipes").glob("*.toml")
    found += (REPOSITORY / "runtime/live").glob("*.html")
    found += (REPOSITORY / "calibration/profile").glob("page.*s")
    found += (REPOSITORY / "train/configs").glob("*.toml")
    found += (REPOSITORY / "src/adcvsr/models").glob("*/*")
    for folder in ("src/adcvsr", "runtime", "calibration", "export", "train"):
        found += (REPOSITORY / folder).rglob("*.py")
    return found


def _inside(path: Path) -> Path:
    """Where a source file lies in the package."""
    return path.relative_to("src/adcvsr") if path.parts[0] == "src" else path
