"""What all commands have in common: `-q` and `-v`, an example, no option twice, help with names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from ._help import examples_text
from ._say import level_options, start_speaking


class CommandGroup(click.Group):
    """A group that names the nearest command where there is none of a name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called.

        Raises:
            click.UsageError: There is none of that name.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from ..config import nearest
            from ..given import VIDEO, what_is

            if what_is(name) == VIDEO:
                ctx.fail(f"no command '{name}'; 'adcvsr upscale {name}' upscales that file")
            known = dict.fromkeys(self.list_commands(ctx))
            ctx.fail(f"no command '{name}'{nearest(name, known)}")
        return super().resolve_command(ctx, args)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Begin as loud as usual, before the options that change it are read."""
        if parent is None:
            start_speaking()
        return super().make_context(info_name, args, parent, **extra)

    def make_parser(self, ctx: click.Context) -> Any:
        """Refuse options that are given twice."""
        return _strict(super().make_parser)(ctx)


def equip(command: click.Command, words: str) -> None:
    """Add what every command has: `-q`, `-v`, and its examples at the end of its help.

    Args:
        command: A command, or a group, whose commands are equipped.
        words: What is typed for it, after `adcvsr`.
    """
    below: dict[str, click.Command] = getattr(command, "commands", getattr(command, "below", {}))
    for name, each in below.items():
        equip(each, f"{words} {name}")
    if isinstance(command, click.Group) or any(each.name == "quiet" for each in command.params):
        return
    command.params += level_options()
    command.make_parser = _strict(command.make_parser)  # type: ignore[assignment,method-assign]
    command.epilog = "\n\n".join(filter(None, (examples_text(words), command.epilog)))


def _strict(make_parser: Callable[[click.Context], Any]) -> Callable[[click.Context], Any]:
    """Have a command's parser refuse options that are given twice and take one value.

    Click takes the last one without a word.

    Args:
        make_parser: Of the command.
    """

    def make(context: click.Context) -> Any:
        parser = make_parser(context)
        parse = parser.parse_args

        def parse_once(*args: Any, **named: Any) -> Any:
            values, rest, order = parse(*args, **named)
            for option, times in Counter(order).items():
                if times > 1 and isinstance(option, click.Option) and not _is_list(option):
                    # Values are not shown: they may be addresses with passwords.
                    given = "twice" if times == 2 else f"{times} times"
                    raise click.UsageError(
                        f"{_names(option)} is given {given}; expected once", context
                    )
            return values, rest, order

        parser.parse_args = parse_once
        return parser

    return make


def _is_list(option: click.Option) -> bool:
    return option.multiple or option.count


def _names(option: click.Option) -> str:
    return "/".join((option.opts[-1], *option.secondary_opts[-1:]))
