"""Old spellings of options, accepted with a note; docs/words.md has the vocabulary.

A command that has one meaning's option has its one spelling. What was spelled otherwise before is
rewritten here, before click reads it, so that commands know one spelling only.
"""

from __future__ import annotations

from collections.abc import Callable

from ._say import note

Tell = Callable[[str], None]

RENAMED: dict[str, dict[str, str]] = {
    "bench": {"--precision": "--variant"},
    "build": {"--frames": "--window"},
    "export": {"--calibration": "--clips"},
    "profile": {"--variants": "--variant"},
}
"""By command: old spelling and new."""

BUNDLE_FIRST = frozenset(
    ("bench", "build", "deploy", "inspect", "plan", "profile", "quantize", "search", "verify")
)
"""Commands that work on a bundle, which is their first argument; `--model` means the same."""

OUTPUT_OPTIONS = ("-o", "--output", "--out")
"""How other commands and programs spell what is the last argument of `upscale`."""

JSON_FILES = ("bench", "evaluate")
"""Commands whose `--json` took a file's name before `-o` did."""


def rewrite(command: str, arguments: list[str]) -> list[str]:
    """Put today's spellings instead of old ones, with a note on stderr for each.

    Args:
        command: Its name.
        arguments: What follows it.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, rest = arguments[:end], arguments[end:]
    # Click has not read -q yet.
    tell = note if {"-q", "--quiet"}.isdisjoint(options) else _be_silent
    options = _renamed(command, options, tell)
    if command in BUNDLE_FIRST:
        options = _bundle_first(command, options, tell)
    if command == "upscale":
        options = _output_last(options, tell)
    if command in JSON_FILES and options[:1] != ["compare"]:
        options = _json_file(options, tell)
    return [*options, *rest]


def _be_silent(text: str) -> None:
    """What is told with `-q`."""


def _renamed(command: str, arguments: list[str], tell: Tell) -> list[str]:
    renamed = RENAMED.get(command, {})
    found = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in renamed:
            tell(f"{name} is called {renamed[name]} now")
            name = renamed[name]
        found.append(f"{name}{equals}{value}")
    return found


def _bundle_first(command: str, arguments: list[str], tell: Tell) -> list[str]:
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name != "--model" or (not equals and index + 1 == len(arguments)):
            continue
        after = index + 1 if equals else index + 2
        bundle = value if equals else arguments[index + 1]
        tell(f"the bundle is the first argument here: adcvsr {command} {bundle}")
        rest = [*arguments[:index], *arguments[after:]]
        more = command == "bench" and any(each.partition("=")[0] == "--model" for each in rest)
        return [bundle, *(_bundle_first(command, rest, tell) if more else rest)]
    return arguments


def _output_last(arguments: list[str], tell: Tell) -> list[str]:
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in OUTPUT_OPTIONS and (equals or index + 1 < len(arguments)):
            after = index + 1 if equals else index + 2
            output = value if equals else arguments[index + 1]
            tell(f"OUTPUT is the last argument here: adcvsr upscale INPUT {output}")
            return [*arguments[:index], *arguments[after:], output]
    return arguments


def _json_file(arguments: list[str], tell: Tell) -> list[str]:
    found, left = [], list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.partition("=")
        if name == "--json":
            if equals and value == "-":
                argument = name
            elif equals or (left and left[0].endswith(".json")):
                tell("--json prints to stdout now; -o takes the file")
                found.append("-o")
                argument = value if equals else left.pop(0)
        found.append(argument)
    return found
