"""Docs, help and messages are in plain English, without words that only their authors use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import adcvsr
from adcvsr.cli.commands import COMMANDS, load_command

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = ("src/adcvsr", "runtime", "export", "calibration", "train")
DIARY = ("decisions.md", "decisions-index.md")
PAGES = [REPOSITORY / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")]
PAGES += [page for page in REPOSITORY.glob("docs/**/*.md") if page.name not in DIARY]
PAGES += REPOSITORY.glob(".github/**/*.*")

DIALECT = re.compile(
    r"\b(in a line|an? line (says|tells|names)|with a line|said so|likewise|whoever|anew"
    r"|says? so"
    r"|without a word|in the place of|a note tells it|all the same|be had|(to and|and) fro"
    r"|lest|hitherto|therein|thereof|nobody says|for ever and)\b",
    re.IGNORECASE,
)


def found_in(text: str) -> list[str]:
    return [match[0] for match in DIALECT.finditer(" ".join(text.split()))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page(page: Path) -> None:
    assert found_in(page.read_text(encoding="utf-8")) == []


def commands() -> Iterator[click.Command]:
    todo = [load_command(name) for name in COMMANDS]
    while todo:
        command = todo.pop()
        todo += getattr(command, "commands", getattr(command, "below", {})).values()
        yield command


def test_help() -> None:
    for command in commands():
        texts = [command.help, command.short_help]
        texts += [getattr(option, "help", None) for option in command.params]
        assert found_in("\n".join(text for text in texts if text)) == [], command.name


def test_messages() -> None:
    """What the program says is a string; docstrings and comments are for who changes it."""
    wrong = []
    for path in chain_of(CODE):
        text = path.read_text(encoding="utf-8")
        if DIALECT.search(text.replace('"', " ")):  # most files have none; parsing is the cost
            for line, said in strings(ast.parse(text)):
                wrong += [
                    (f"{path.relative_to(REPOSITORY)}:{line}", each) for each in found_in(said)
                ]
    assert wrong == []


def chain_of(folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((REPOSITORY / folder).rglob("*.py"))


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string but docstrings; the parts of an f-string apart."""
    statements = (each for each in ast.walk(tree) if isinstance(each, ast.Expr))
    docstrings = {id(each.value) for each in statements}
    for node in ast.walk(tree):
        told = isinstance(node, ast.Constant) and id(node) not in docstrings
        if told and isinstance(node.value, str):
            yield node.lineno, node.value


def test_pages_of_the_program() -> None:
    pages = [
        *REPOSITORY.glob("runtime/live/*.html"),
        *REPOSITORY.glob("calibration/profile/page.*"),
    ]
    assert pages
    assert [path.name for path in pages if found_in(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("name", sorted(set(adcvsr.__all__) - {"__version__"}))
def test_the_python_api(name: str) -> None:
    """Docstrings of public names are a page of the docs."""
    public = getattr(adcvsr, name)
    members = (
        [each for key, each in vars(public).items() if key[0] != "_"]
        if isinstance(public, type)
        else []
    )
    for each in (public, *members):
        assert found_in(getattr(each, "__doc__", None) or "") == [], each
