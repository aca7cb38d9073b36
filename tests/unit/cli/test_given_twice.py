"""An option that takes one value is an error where it is given twice, in every command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import COMMANDS, cli, load_command


def leaves(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    below = getattr(command, "commands", getattr(command, "below", {}))
    for name, each in below.items():
        yield from leaves(f"{words} {name}", each)
    if not isinstance(command, click.Group):
        yield words, command


SINGLE = [
    (words, option, name)
    for each in sorted(COMMANDS)
    for words, command in leaves(each, load_command(each))
    for option in command.params
    if isinstance(option, click.Option) and not option.multiple
    for name in (option.opts[-1], *option.secondary_opts[:1])
]


def typed(option: click.Option, name: str) -> list[str]:
    return [name] if option.is_flag else [name, *["secret"] * option.nargs]


def test_every_single_option_of_every_command_is_refused_twice() -> None:
    assert len(SINGLE) > 200
    for words, option, name in SINGLE:
        arguments = [*words.split(), *typed(option, name), *typed(option, option.opts[0])]
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2, (words, name, result.output)
        assert re.search(rf"{re.escape(option.opts[-1])}\S* is given twice", result.output), words
        assert "secret" not in result.output


@pytest.mark.parametrize("arguments", [["-q", "-q", "models"], ["-v", "-v", "-v", "models"]])
def test_those_before_the_command_too(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert f"is given {'twice' if len(arguments) == 3 else '3 times'}" in result.output


def test_both_halves_of_a_switch_and_an_old_spelling_count_as_one_option() -> None:
    for arguments in (
        ["live", "--source", "a", "--cut-reset", "--no-cut-reset"],
        ["build", "nano", "--frames", "5", "--window", "3"],
    ):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert "is given twice; expected once" in result.output


def test_lists_may_be_repeated() -> None:
    result = CliRunner().invoke(cli, ["models", "--json"])
    assert result.exit_code == 0
    result = CliRunner().invoke(cli, ["evaluate", "--model", "nano", "--model", "none-such", "x"])
    assert "given twice" not in result.output
