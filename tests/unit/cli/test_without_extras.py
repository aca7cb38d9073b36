from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from without_extras import calls, missing_commands, prepare, run_call

from adcvsr.errors import EXTRA_OF, missing_by_name, missing_package


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str | None]]:
    """Every call, in an environment in which the optional packages look missing."""
    folder = tmp_path_factory.mktemp("calls")
    prepare(folder)
    found = calls(folder)
    assert not missing_commands(found)
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda call: run_call(call, block=True), found)
        yield {" ".join(c.arguments): result for c, result in zip(found, results, strict=True)}


@pytest.mark.slow
def test_every_command_works_or_names_its_extra(wrong: dict[str, str | None]) -> None:
    assert len(wrong) > 25
    assert {call: result for call, result in wrong.items() if result} == {}


def test_the_extra_of_a_package_is_named() -> None:
    assert "pip install 'adcvsr[export]'" in str(missing_by_name("onnx.reference"))
    assert missing_by_name("json") is None
    assert missing_by_name(None) is None
    assert "/whl/cpu" in str(missing_package("torch", "train", "training"))
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in set(EXTRA_OF.values()))
