from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from without_extras import Call, calls, missing_commands, prepare, run_call

from adcvsr.errors import EXTRA_OF, missing_by_name, missing_package


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


def test_the_extra_of_a_package_is_named() -> None:
    assert "pip install 'adcvsr[export]'" in str(missing_by_name("onnx.reference"))
    assert missing_by_name("json") is None
    assert missing_by_name(None) is None
    assert "/whl/cpu" in str(missing_package("torch", "train", "training"))
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in project for extra in set(EXTRA_OF.values()))
