"""The command line: one file a command, loaded only when it is called.

`main` turns every `AdcVsrError` into one line and exit 1; usage errors exit 2, Ctrl-C 130.
Set ADCVSR_DEBUG=1 to see tracebacks.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from types import FrameType

import click

from .. import __version__
from ..errors import AdcVsrError
from ..redaction import without_secrets
from ._secrets import guard_secrets

COMMANDS = {
    "bench": "Measure how fast a bundle's variants run here.",
    "build": "Build a bundle's engines for a GPU.",
    "cache": "List or clear the engines on this device.",
    "calibrate": "Choose the frames a network is quantized by.",
    "demo": "Draw a clip, degrade it, upscale it; look at the result.",
    "deploy": "Build, try out and make current a bundle's engines.",
    "doctor": "Look at this machine: what runs, what is missing.",
    "evaluate": "Measure a bundle against bicubic on images and clips.",
    "export": "Turn a checkpoint into a bundle, with proof.",
    "import": "Turn published weights into a checkpoint.",
    "inspect": "Show a bundle: graphs, variants with their proof, files.",
    "live": "Upscale a live stream, at a latency that is stated.",
    "models": "List the bundles at hand.",
    "profile": "Compare a bundle's variants on clips: one page to decide by.",
    "plan": "Predict whether a bundle runs live on a target.",
    "quantize": "Add an INT8 or FP8 variant to a bundle, with proof.",
    "search": "Find the nodes that must stay float for a budget.",
    "targets": "List the devices to plan and build for.",
    "train": "Train a student.",
    "upscale": "Upscale a video file four times.",
    "verify": "Hash a bundle's files and replay its golden clip here.",
}
"""Every command and its help line; held here so that --help imports none of them."""

MODULES = {"import": "import_weights"}
"""Files whose name is not the command's."""

INTERRUPTED, FAILED = 130, 1


def load_command(name: str) -> click.Command:
    """Import a command's module; `import` is a keyword, so its file has another name."""
    module = importlib.import_module(f".{MODULES.get(name, name)}", __name__)
    command: click.Command = module.command
    return command


class LazyGroup(click.Group):
    """A group whose commands are imported when called (click's documented pattern)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        return load_command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="adcvsr")
def cli() -> None:
    """AdcVSR on the edge: x4 video super-resolution, from training to a live stream."""


def main() -> None:
    """Run the command line and exit."""
    for number in _interrupts():
        signal.signal(number, _interrupt)
    guard_secrets(sys.argv[1:])
    try:
        cli(standalone_mode=False)
    except AdcVsrError as error:
        if os.environ.get("ADCVSR_DEBUG"):
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except (OSError, MemoryError) as error:
        if os.environ.get("ADCVSR_DEBUG"):
            raise
        click.echo(f"error: {without_secrets(str(error)) or 'out of memory'}", err=True)
        sys.exit(FAILED)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(without_secrets(said.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


def _interrupts() -> list[signal.Signals]:
    """Ctrl-C, a polite kill, and a closed terminal, as far as this system has them."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End in order: stages stop, partial files are removed.

    Further signals are ignored meanwhile: an interrupted clean-up would leave files behind or crash
    a running stage, and the first signal takes up to a frame to act.
    """
    for each in _interrupts():
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
