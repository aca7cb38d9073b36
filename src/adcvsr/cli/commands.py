"""The command line: one file a command, loaded only when it is called.

`main` turns every `AdcVsrError` into one line and exit 1; usage errors exit 2, Ctrl-C 130.
Anything else is one line too, with the name of a file that holds the traceback (`adcvsr.fault`).
Set ADCVSR_DEBUG=1 to see tracebacks.
"""

from __future__ import annotations

import importlib
import io
import os
import sys

import click

from .. import interrupts
from ..errors import AdcVsrError, missing_by_name
from ..fault import fault_line, guard_threads
from ..host.processors import limit_libraries
from ..redaction import without_secrets
from ..system_errors import system_message
from ..version import __version__
from ._group import CommandGroup, equip
from ._help import TASKS
from ._say import level_options, say_error
from ._secrets import guard_secrets
from ._terminal import clean_streams
from ._words import rewrite

COMMANDS = {
    "adopt": "Make a bundle of an upscaler trained elsewhere.",
    "bench": "Measure how fast a bundle's variants run here.",
    "blend": "Blend two checkpoints of one network.",
    "build": "Build a bundle's engines for a GPU.",
    "cache": "List or clear the engines on this device.",
    "calibrate": "Choose the frames a network is quantized by.",
    "demo": "Draw a clip, degrade it, upscale it: no file needed.",
    "deploy": "Build, try out and make current a bundle's engines.",
    "doctor": "Look at this machine: what runs, what is missing.",
    "evaluate": "Measure a bundle against bicubic on images and clips.",
    "export": "Turn a checkpoint into a bundle, with proof.",
    "import": "Turn published weights into a checkpoint.",
    "inspect": "Show a bundle: graphs, variants with their proof, files.",
    "job": "Upscale a long file in segments, on any machines.",
    "live": "Upscale a live stream and measure its latency.",
    "models": "List the bundles on this machine, and what each is for.",
    "plan": "Predict whether a bundle runs live on a target.",
    "profile": "Compare a bundle's variants on clips: one page to decide by.",
    "quantize": "Add an INT8 or FP8 variant to a bundle, with proof.",
    "report": "Measure this machine and put it into one file to send.",
    "search": "Find the nodes that must stay float for a budget.",
    "targets": "List the devices to plan and build for.",
    "train": "Train a student, or look at what it trains on.",
    "upscale": "Upscale a video file four times.",
    "verify": "Hash a bundle's files and replay its golden clip here.",
}
"""Every command and its help line; held here so that --help imports none of them."""

MODULES = {"import": "import_weights"}
"""Files whose name is not the command's."""

FAILED = 1

NO_THREAD = "can't start new thread"
"""What Python says where the system gives no further one."""


def load_command(name: str) -> click.Command:
    """Import a command's module; `import` is a keyword, so its file has another name."""
    module = importlib.import_module(f".{MODULES.get(name, name)}", __package__)
    from ._outputs import guard

    command: click.Command = module.command
    equip(command, name)
    return guard(command)


class LazyGroup(CommandGroup):
    """A group whose commands are imported when called (click's documented pattern)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        return load_command(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and put today's spellings in the place of old ones."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, rewrite(name, rest) if name else rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by task, without importing any."""
        width = max(map(len, COMMANDS))
        for task, names in TASKS.items():
            with formatter.section(task):
                formatter.write_dl([(name.ljust(width), COMMANDS[name]) for name in names])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="'adcvsr COMMAND --help' explains a command and shows an example.",
)
@click.version_option(__version__, prog_name="adcvsr")
def cli() -> None:
    """AdcVSR on the edge: x4 video super-resolution, from training to a live stream."""


cli.params += level_options()


@clean_streams()
def main() -> None:
    """Run the command line and exit."""
    interrupts.prepare()
    guard_secrets(sys.argv[1:])
    limit_libraries()
    if sys.argv[1:2] == ["train"]:
        interrupts.be_patient()  # it saves the run first
    if not os.environ.get("ADCVSR_DEBUG"):
        guard_threads(say_error)
    try:
        cli(standalone_mode=False)
    except BrokenPipeError:  # whoever read our output has enough, as `head` has
        interrupts.end_unread()
    except AdcVsrError as error:
        if os.environ.get("ADCVSR_DEBUG"):
            raise
        say_error(str(error))
        sys.exit(FAILED)
    except (OSError, MemoryError) as error:
        if os.environ.get("ADCVSR_DEBUG"):
            raise
        say_error(system_message(error))
        sys.exit(FAILED)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(without_secrets(said.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(interrupts.INTERRUPTED)
    except Exception as error:  # the last guard: no user is shown a traceback
        if os.environ.get("ADCVSR_DEBUG"):
            raise
        say_error(_unexpected(error))
        sys.exit(FAILED)


def _unexpected(error: Exception) -> str:
    """One line about an exception nobody expected: a missing package, or a fault of ours."""
    if isinstance(error, ImportError) and (missing := missing_by_name(error.name)):
        return str(missing)
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return f"{NO_THREAD}: raise the limit of processes or of memory"
    return fault_line(error)
