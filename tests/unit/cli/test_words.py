"""One meaning, one spelling: in every command, in the docs, and old ones go on working."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from adcvsr.cli import _say, _words
from adcvsr.cli._help import EXAMPLES, TASKS
from adcvsr.cli.commands import COMMANDS, cli, load_command

REPOSITORY = Path(__file__).resolve().parents[3]
VOCABULARY = (REPOSITORY / "docs/words.md").read_text()
PAGES = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")]
PAGES += REPOSITORY.glob("src/adcvsr/models/*/*.md")
HISTORY = ("decisions.md", "words.md")
"""Pages that name what was."""

FOREIGN = {
    *("--system-site-packages", "--runtime", "--rm", "--index-url", "--no-install-recommends"),
    *("--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--start-method"),
    *("--multi_gpu", "--num_processes", "--cpu", "--no-index", "--groups", "--home-dir"),
    *("--create-home", "--gpus"),
    *("--system", "--res_h", "--res_w", "--process_size", "--shm-size", "--ipc", "--logdir"),
    *("--array", "--requeue", "--wrap", "--format"),
}
"""Options of other programs the pages name."""


def leaves() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    todo = [(name, load_command(name)) for name in COMMANDS]
    while todo:
        words, command = todo.pop()
        below = getattr(command, "commands", getattr(command, "below", {}))
        todo += [(f"{words} {name}", each) for name, each in below.items()]
        if not isinstance(command, click.Group):
            yield words, command


LEAVES = dict(leaves())


def options(command: click.Command) -> set[str]:
    found = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    return {name for name in found if name.startswith("-")} | {"--help", "-h"}


def table(heading: str) -> list[list[str]]:
    part = VOCABULARY.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in part.splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_every_command_is_under_a_task() -> None:
    assert sorted(name for names in TASKS.values() for name in names) == sorted(COMMANDS)
    text = CliRunner().invoke(cli, ["--help"]).stdout
    for task, names in TASKS.items():
        section = text.split(f"{task}:\n")[1].split("\n\n")[0]
        for name in names:
            assert f"{name} " in section


@pytest.mark.parametrize("words", sorted(LEAVES))
def test_every_option_and_command_says_what_it_is(words: str) -> None:
    """None of two words that only its author understands, and no line that is cut in a list."""
    command = LEAVES[words]
    if " " in words:
        assert not command.get_short_help_str(limit=80 - 2 - 18 - 2).endswith("...")
    for each in command.params:
        if isinstance(each, click.Option) and not each.hidden:
            assert len((each.help or "").split()) > 1, each.name
            assert not (each.help or "").startswith("["), each.name


@pytest.mark.parametrize("words", sorted(LEAVES))
def test_help_has_an_example_that_is_true(words: str) -> None:
    done = CliRunner().invoke(cli, [*words.split(), "--help"])
    assert done.exit_code == 0
    for example in EXAMPLES[words]:
        assert example in done.stdout
        given = shlex.split(example)[1:]
        assert given[: len(words.split())] == words.split()
        used = {each.split("=")[0] for each in given if each.startswith("-")}
        assert used <= options(LEAVES[words])
    assert {"--json", "--quiet", "--verbose"} <= options(LEAVES[words])
    for parameter in LEAVES[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{words} {parameter.opts}"


def test_no_example_of_a_command_that_is_gone() -> None:
    assert set(EXAMPLES) == set(LEAVES)


def test_shared_options_are_in_the_vocabulary() -> None:
    known = set(re.findall(r"`(-[-\w]+)`", " ".join(row[0] for row in table(SHARED))))
    users: dict[str, list[str]] = {}
    for words, command in LEAVES.items():
        for name in options(command):
            users.setdefault(name, []).append(words)
    shared = {name for name, by in users.items() if len(by) > 1 and name.startswith("--")}
    assert {name for name in shared if not name.startswith("--no-")} - {"--help"} <= known
    assert {name for name in known if name.startswith("--")} <= set(users)


SHARED = "Options that several commands have"


def test_one_spelling_has_one_kind_of_value() -> None:
    """What the vocabulary says an option takes is what every command's help says."""
    meant = {
        name: row[1].strip("`").replace("\\|", "|")
        for row in table(SHARED)
        for name in re.findall(r"`(--[-\w]+)`", row[0])
        if row[1] in {"`ID\\|PRECISION`", "`NAME\\|BUNDLE`", "`SET`", "`WxH`", "`FILE.toml`"}
    }
    assert {"--variant", "--model", "--calibration", "--size"} <= set(meant)
    for words, command in LEAVES.items():
        for parameter in command.params:
            for name in meant.keys() & set(parameter.opts):
                assert parameter.metavar == meant[name], f"{words} {name}"


def test_old_spellings_are_told_and_gone_from_the_commands() -> None:
    told = {(command, old) for row in table("Old spellings") for command, old in _cells(row)}
    for command, renamed in _words.RENAMED.items():
        for old, new in renamed.items():
            assert (command, old) in told
            assert old not in options(LEAVES[command])
            assert new in options(LEAVES[command])
    for command in _words.BUNDLE_FIRST:
        assert "--model" not in options(LEAVES[command])
        assert "bundle" in {each.name for each in LEAVES[command].params}


def _cells(row: list[str]) -> Iterator[tuple[str, str]]:
    for command in re.findall(r"`(\w+)`", row[0]):
        yield command, row[1].strip("`").split()[0]


@pytest.mark.parametrize(
    ("command", "given", "meant", "notes"),
    [
        ("profile", ["b", "--variants=int8"], ["b", "--variant=int8"], 1),
        ("profile", ["--clips", "a", "c", "--model", "b"], ["b", "--clips", "a", "c"], 1),
        ("bench", ["--model=b", "--precision", "int8"], ["b", "--variant", "int8"], 2),
        ("bench", ["b", "--json", "x.json"], ["b", "-o", "x.json"], 1),
        ("bench", ["--json=x.json", "b"], ["-o", "x.json", "b"], 1),
        ("bench", ["b", "--json=-"], ["b", "--json"], 0),
        ("bench", ["compare", "--json", "a.json", "b.json"], None, 0),
        ("evaluate", ["--json", "a.png"], None, 0),
        ("evaluate", ["a.png", "--model", "small"], None, 0),
        ("export", ["c", "--calibration", "a.mp4"], ["c", "--clips", "a.mp4"], 1),
        ("quantize", ["b", "--calibration", "set"], None, 0),
        ("build", ["b", "--precision", "fp16"], None, 0),
        ("build", ["b", "--frames", "9"], ["b", "--window", "9"], 1),
        ("upscale", ["--", "--variants"], None, 0),
        ("upscale", ["a.mp4", "-o", "b.mp4", "--crf", "9"], ["a.mp4", "--crf", "9", "b.mp4"], 1),
        ("upscale", ["--output=b.mp4", "a.mp4"], ["a.mp4", "b.mp4"], 1),
        ("upscale", ["a.mp4", "--output-size", "64x36"], None, 0),
    ],
)
def test_old_spellings_are_rewritten(
    command: str,
    given: list[str],
    meant: list[str] | None,
    notes: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _say.start_speaking()
    assert _words.rewrite(command, given) == (given if meant is None else meant)
    said = capsys.readouterr()
    assert said.err.count("note: ") == notes
    assert said.out == ""
    _words.rewrite(command, ["-q", *given] if given[:1] != ["compare"] else [*given, "-q"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_a_page_spells_exists(page: Path) -> None:
    """In code spans and blocks alike; those of other programs are listed above."""
    text = page.read_text()
    if page.name in HISTORY:
        text = text.split("## Old spellings")[0] if page.name == "words.md" else ""
    spelled = set()
    for line in re.findall(r"`[^`\n]+`", text) + re.findall(r"^.*adcvsr .*$", text, re.MULTILINE):
        spelled |= set(re.findall(r"(?<![\w-])--[a-z][\w-]*", line))
    known = {name for command in (cli, *LEAVES.values()) for name in options(command)}
    for script in REPOSITORY.glob("packaging/*.sh"):
        known |= set(re.findall(r"^  (--[a-z][\w-]*)", script.read_text(), re.MULTILINE))
    for benchmark in REPOSITORY.glob("benchmarks/*.py"):
        known |= set(re.findall(r'"(--[a-z][\w-]*)"', benchmark.read_text()))
    assert spelled - known - FOREIGN == set()


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["upscal"], "did you mean 'upscale'?"),
        (["train", "pretrian"], "did you mean 'pretrain'?"),
        (["cache", "lst"], "did you mean 'list'?"),
        (["xyz"], "there are: adopt, bench"),
    ],
)
def test_misspelt_commands(arguments: list[str], meant: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert meant in done.stderr


def test_quiet_and_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = ["tensorrt: no such package", "ort-cuda: no driver"]
    notes = [*(f"not on {each}" for each in reasons), "variant x: slow (measured before)", "sound"]

    def said(*levels: str) -> list[str]:
        _say.start_speaking()
        for option in _say.level_options():
            if option.name in levels:
                _say.set_level(click.Context(cli), option, True)
        for _ in range(2):
            _say.run_notes(notes, reasons)
        _say.done("out.mp4")
        return capsys.readouterr().err.splitlines()

    assert said() == [
        "note: sound",
        "note: a GPU seems to be here, and not used: tensorrt, ort-cuda; -v says why",
    ]
    assert said("quiet") == []
    assert said("verbose") == [f"note: {each}" for each in notes] * 2
    with pytest.raises(click.UsageError, match="either"):
        said("quiet", "verbose")
    _say.start_speaking()
