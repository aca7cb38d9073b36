"""Which student `--model auto` or `--strength` is.

The one is found from what is known of the input before it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from ._say import note

if TYPE_CHECKING:
    from ..pictures.crop import Crop

AUTO = "auto"

Seen = tuple[int | None, Fraction | None]
"""Pixels of a frame and frames a second, where they are known."""

strength_option = click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    metavar="0|0.5|1",
    help="How much is redrawn: 0 is the faithful student of that size, 1 the restoring one. 0.5 "
    "with nano-restore, which it takes without --model.",
)


def of_strength(model: str, strength: float | None) -> str:
    """The model that `--strength` makes of `--model`, said in a line; without it that one.

    Raises:
        ConfigError: The package has no such bundle.
    """
    if strength is None:
        return model
    from ..runtime.processing.students import RESTORING, at_strength

    found = at_strength(RESTORING if model == AUTO else model, strength)
    note(f"the model is {found}, of strength {strength:g}")
    return found


def file_model(model: str, sources: Iterable[str], options: dict[str, Any]) -> str:
    """The model for files: what was asked for, or the student `auto` stands for, said in a line.

    Args:
        model: The option's value.
        sources: The inputs; the first that is there decides.
        options: Those of the network and of reading.
    """
    if model != AUTO:
        return model
    from ..runtime.batch import is_nowhere
    from ..runtime.processing.students import FILES, PICTURES, choose_student

    there = [each for each in sources if not is_nowhere(each)]
    if not there:
        return FILES.names[-1]  # for the run to end with: nothing is measured for that
    pixels, rate = _of_file(there[0], options["crop"], options["video_stream"])
    student = choose_student(
        PICTURES if all(_is_picture(each) for each in there) else FILES,
        pixels,
        rate,
        backend=options["backend"],
        variant=options["variant"],
        threads=options.get("threads") or 0,
    )
    note(
        f"the model is {student.name}, {student.reason}; --model takes another, nano for clean "
        "input"
    )
    return student.name


def live_model(source: str | None, crop: Crop | None, **network: Any) -> str:
    """The student `auto` stands for in a stream, said in a line.

    Args:
        source: Its address; None where there are several.
        crop: The part of the picture that is taken.
        network: `backend`, `variant` and `threads`.

    Raises:
        ConfigError, MissingProgramError: The address cannot be opened, as the run would say.
    """
    from ..runtime.processing.students import STREAMS, choose_student

    seen: Seen = (None, None) if source is None else _of_source(source, crop)
    student = choose_student(STREAMS, *seen, **network)
    note(f"the model is {student.name}, {student.reason}; for clean input: --model nano")
    return student.name


def _is_picture(source: str) -> bool:
    from ..pictures.clips import IMAGE_SUFFIXES

    path = Path(source)
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _of_source(text: str, crop: Crop | None) -> Seen:
    """What the source of a stream knows before it is opened, and the header of a file says."""
    from ..runtime.live.source import open_source
    from ..runtime.live.source_file import PacedFileSource

    source = open_source(text, Event())
    if isinstance(source, PacedFileSource):
        return _of_file(str(source.path), crop, None)
    size, rate = source.asked
    if size is None:
        return None, rate
    return (crop.width * crop.height if crop is not None else size[0] * size[1]), rate


def _of_file(source: str, crop: Crop | None, video_stream: int | None) -> Seen:
    """What the header of a file says; nothing of what is no file, or none that can be read.

    What is wrong with an input is for the run to say, which reads it by all of its rules.
    """
    from ..errors import AdcVsrError
    from ..runtime.video.info import FALLBACK_RATE
    from ..runtime.video.input_file import choose_stream, open_input

    path = Path(source)
    if not path.is_file():
        return None, None
    try:
        with open_input(path, "cpu") as container:
            stream = choose_stream(path, container, video_stream, lambda _: None)
            width, height = stream.width, stream.height
            rate = stream.guessed_rate or stream.average_rate or FALLBACK_RATE
    except (AdcVsrError, OSError):
        return None, None
    if crop is not None:
        width, height = crop.width, crop.height
    return (width * height or None), Fraction(rate)
