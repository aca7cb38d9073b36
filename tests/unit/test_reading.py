"""Whatever JSON or TOML holds, it is values within limits or one error that says where and what."""

from __future__ import annotations

import os
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from adcvsr.errors import AdcVsrError, BenchError
from adcvsr.reading import Limits, parse_json, parse_toml, read_json

REPOSITORY = Path(__file__).resolve().parents[2]


def parse(text: bytes | str, **options: object) -> object:
    return parse_json(text, source="'a.json'", error=BenchError, **options).value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xff{}", "not UTF-8 text .byte 0xff at 0"),
        ("NaN", "the number NaN"),
        ("[-Infinity]", "the number -Infinity"),
        ("[1e999]", "the number inf"),
        ("9" * 5000, "5000 digits"),
        ("[99999999999999999999]", "more than 64 bits"),
        ("[" * 100_000, "nested deeper than 32"),
        ("[" * 40 + "]" * 40, "nested deeper than 32"),
        ('{"a": 1, "a": 2}', '"a" is there twice'),
        (r'["\ud800"]', "half of a character pair"),
        ("[" + "0," * 300_000 + "0]", "more than 200,000 values"),
        ("", "not valid JSON"),
    ],
)
def test_what_is_refused(text: bytes | str, says: str) -> None:
    with pytest.raises(BenchError, match=f"'a.json' .*{says}"):
        parse(text)


def test_size_and_byte_order_mark() -> None:
    assert parse(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == {"a": "é"}
    with pytest.raises(BenchError, match="longer than the 4 bytes expected"):
        parse("[1, 2]", limits=Limits(size_bytes=4))


def test_values_are_asked_for_by_kind() -> None:
    item = parse_json(
        '{"a": {"b": [1, "x", true, "\\u001b[31m"]}, "n": null}',
        source="'f'",
        error=BenchError,
        advice="get it again",
    )
    numbers = item["a"]["b"].items()
    assert numbers[0].integer(0, 1) == 1
    assert numbers[0].number() == 1.0
    assert numbers[1].text() == "x"
    assert numbers[2].flag()
    assert item.get("n") is None
    for wrong, says in (
        (lambda: item["a"]["c"], "'f': a.c is missing; get it again"),
        (lambda: item["a"]["b"]["c"], "'f': a.b is a list of 4, expected an object; get"),
        (lambda: numbers[1].integer(1, 9), r"'f': a.b\[1\] is \"x\", expected a whole number of 1"),
        (numbers[2].integer, "is true, expected a whole number"),
        (lambda: numbers[0].integer(2), "is 1, expected a whole number of 2 or more"),
        (numbers[3].text, r"is \"\\u001b\[31m\", expected a text of one line"),
        (lambda: item["a"]["b"].items(least=5), "expected a list of 5 or more values"),
    ):
        with pytest.raises(BenchError, match=says):
            wrong()


def test_toml() -> None:
    options = {"source": "'a.toml'", "error": BenchError, "extra": "train", "purpose": "a test"}
    assert parse_toml("a = [1, 2.5]", **options).value == {"a": [1, 2.5]}  # type: ignore[arg-type]
    for text in ("a = nan", "a = 1979-05-27", "a = " + "[" * 5000, b"\xff", "a = 1\na = 2"):
        with pytest.raises(BenchError, match="'a.toml' is not"):
            parse_toml(text, **options)  # type: ignore[arg-type]


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for name, says in (("pipe", "a pipe"), (".", "a folder"), ("none", "No such file")):
        with pytest.raises(BenchError, match=says):
            read_json(tmp_path / name, error=BenchError)


def test_nothing_else_reads_json_or_toml() -> None:
    """Processes of ours that talk to each other, and examples in docstrings, are no files."""
    allowed = {"src/adcvsr/reading.py", "src/adcvsr/bundle/graph_trial.py"}
    allowed |= {"export/modelopt/modelopt_worker.py", "export/fp16/autocast_process.py"}
    allowed |= {"runtime/report/anonymous.py"}
    allowed |= {"runtime/gstreamer/child.py", "runtime/gstreamer/process.py"}
    found = {
        str(path.relative_to(REPOSITORY))
        for folder in ("src", "runtime", "export", "train", "calibration")
        for path in (REPOSITORY / folder).rglob("*.py")
        if re.search(r"json\.loads?\((?!a\)|b\))|import tomli|tomllib\.", path.read_text())
    }
    assert found <= allowed


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = spec_from_file_location("fuzz_input", REPOSITORY / "benchmarks" / "fuzz_input.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        spec.loader.exec_module(module)
    return module


def test_changed_documents_are_accepted_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    """The smallest form of `python benchmarks/fuzz_input.py --only documents`."""
    pytest.importorskip("torch", reason="checkpoints and training configs need it")
    sources = fuzz.make_sources(tmp_path)
    refused = []
    for seed in range(150):
        if sources[seed % len(sources)][0] == "manifest" and seed > 20:
            continue  # each of these hashes a bundle
        try:
            fuzz.open_changed(sources, seed, tmp_path)
        except AdcVsrError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all(map(str.isprintable, refused))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("loop", "the operator 'Loop'"),
        ("domain", r"of the domain 'evil\\x1b"),
        ("expand", "MiB of memory|fails in the engine"),
        ("data-absolute", "wants weights from '/etc/passwd'"),
        ("data-above", r"wants weights from '\.\./x'"),
        ("subfolder", "plain name of a file beside the manifest"),
        ("pipe", "is no plain file"),
        ("zip-doubled", "2 entries named"),
        ("zip-entries", "list of entries has"),
    ],
)
def test_hostile_bundles(fuzz: ModuleType, tmp_path: Path, name: str, says: str) -> None:
    """The smallest form of `python benchmarks/fuzz_input.py --only bundles`."""
    pytest.importorskip("onnx", reason="making hostile graphs needs it")
    with pytest.raises(AdcVsrError, match=says):
        fuzz.open_hostile(name, tmp_path)
