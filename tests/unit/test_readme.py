"""The README and the docs say what is true: commands exist, links lead somewhere, code runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import adcvsr
from adcvsr.cli.commands import COMMANDS, load_command

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
PAGES += REPOSITORY.glob("docs/**/*.md")
PAGES += REPOSITORY.glob("src/adcvsr/models/*/*.md")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def said_to_type(page: Path) -> list[str]:
    """Every command of a page: of its blocks, and in backticks within its sentences."""
    text = page.read_text()
    found = []
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            found += re.split(r"&&|\|", re.split(r"(?:^|\s)#", line)[0])
    sentences = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found += [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", sentences)]
    return [each.strip() for each in found]


def called(command: str, program: str) -> list[str]:
    """The words behind `program` in a command, however the command gets to it; else none."""
    try:
        words = shlex.split(command)
    except ValueError:  # code of another language
        return []
    at = [place for place, word in enumerate(words) if re.search(program, word)]
    return words[at[0] :] if at else []


def shell_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        if page.name in ("decisions.md", "decisions-index.md"):  # what was true on its day
            continue
        for command in said_to_type(page):
            name, *rest = called(command, r"^(\S+/bin/)?adcvsr$") or [""]
            if rest and (command.startswith(name) or rest[0] in COMMANDS):
                found.append((page.name, shlex.join(["adcvsr", *rest])))
    return found


def scripts() -> list[tuple[str, str]]:
    return [
        (page.name, shlex.join(words))
        for page in PAGES
        if page.name not in ("decisions.md", "decisions-index.md")
        for words in (called(each, r"^(benchmarks|packaging|\.ci)/") for each in said_to_type(page))
        if words
    ]


def test_the_two_commands_are_there() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert "pip install '.[cpu]' && adcvsr upscale INPUT.mp4 OUTPUT.mp4\n" in readme
    assert "pip install -e '.[dev]' -c constraints.txt && pytest -n 2\n" in readme


@pytest.mark.parametrize(("page", "line"), shell_commands())
def test_commands_exist_with_their_options(page: str, line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    if name.startswith("-") or name == "COMMAND":
        return
    assert name in COMMANDS, page
    command = load_command(name)
    while isinstance(command, click.Group) and arguments and arguments[0] in command.commands:
        command = command.commands[arguments.pop(0)]
    known = {option for p in command.params for option in p.opts} | {"--help"}
    for argument in arguments:
        if argument.startswith("-") and argument != "-":  # which is a pipe
            assert argument.split("=")[0] in known, f"{page}: {line}"


@pytest.mark.parametrize(("page", "line"), scripts())
def test_scripts_exist_with_their_options(page: str, line: str) -> None:
    name, *arguments = shlex.split(line)
    if "*" in name or (REPOSITORY / name).is_dir():
        return
    text = (REPOSITORY / name).read_text()
    for module in re.findall(r"^from (\w+) import", text, re.MULTILINE):
        shared = REPOSITORY / "benchmarks" / f"{module}.py"
        text += shared.read_text() if shared.exists() else ""
    for argument in arguments:
        if argument == "--":  # what follows goes on to another program
            return
        if argument.startswith("--") and name.startswith("benchmarks/"):
            assert f'"{argument.split("=")[0]}"' in text, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_the_table_of_speed_is_what_its_command_writes() -> None:
    """`benchmarks/readme_table.py --write` finds its marks, and the columns are its own."""
    readme = (REPOSITORY / "README.md").read_text()
    command = (REPOSITORY / "benchmarks/readme_table.py").read_text()
    (begin, end) = re.search(r'MARKS = \("(.+)\\n", "(.+)\\n"\)', command).groups()  # type: ignore[union-attr]
    assert readme.count(f"{begin}\n") == readme.count(f"{end}\n") == 1
    table = readme.split(begin)[1].split(end)[0].strip()
    (heads,) = re.findall(r'heads = "(.+)"', command)
    assert table.startswith(f"| {heads} (decode, network, encode) |\n")


def test_the_api_page_has_every_public_name() -> None:
    text = (REPOSITORY / "docs/reference/api.md").read_text()
    described = re.findall(r"^::: adcvsr\.(\w+)$", text, re.MULTILINE)
    assert sorted(described) == sorted(set(adcvsr.__all__) - {"__version__"})


def test_the_index_of_decisions_leads_to_sections() -> None:
    heads = re.findall(r"^## (.+)$", (REPOSITORY / "docs/decisions.md").read_text(), re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads]
    assert len(set(anchors)) == len(anchors)
    index = (REPOSITORY / "docs/decisions-index.md").read_text()
    assert set(re.findall(r"\(decisions\.md#([^)]+)\)", index)) <= set(anchors)


def test_every_folder_of_the_tree_is_there() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    tree = next(each for each in blocks(page, "text") if "src/" in each)
    for path in re.findall(r"^(\S+/)", tree, re.MULTILINE):
        assert (REPOSITORY / path).is_dir(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_is_a_placeholder(page: Path) -> None:
    text = page.read_text()
    assert len(text) > 500
    assert not re.search(r"\b(TODO|FIXME|XXX|[A-Z]+_(TABLE|LINE))\b", text)
