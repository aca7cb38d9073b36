"""The student of the package that looks best within the time this machine has: `--model auto`.

    student = choose_student(FILES, 640 * 360, Fraction(30), variant="int8")
    student.name, student.reason

Students are compared by one measured figure, a frame's time on these processors, which is
remembered (`fastest_variant`); the same machine takes the same one every time.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ...bundle import open_bundle
from ...errors import (
    BackendUnavailableError,
    BundleError,
    BundleNotFoundError,
    ConfigError,
    MissingPackageError,
)
from .backends import choose_backend, cpu_milliseconds
from .fastest_variant import HEIGHT, WIDTH


class Among(NamedTuple):
    """What is chosen from, and by which time."""

    names: tuple[str, ...]
    """The best-looking first, by DISTS on video as people have it (docs/decisions.md); the last is
    the quickest."""

    most: float
    """Times as long as the video plays that one before the last may take."""

    still: bool = False
    """Whether it is pictures, which do not play: `most` is seconds a picture then."""


FILES = Among(("small-restore", "nano-restore"), 4.0)
PICTURES = Among(FILES.names, 30.0, still=True)
STREAMS = Among(("small-restore", "nano-camera"), 0.7)
"""A stream leaves the rest of its time to capture and encoder."""


RESTORING = "nano-restore"
STRENGTHS: dict[str, dict[float, str]] = {
    RESTORING: {0.0: "nano", 0.5: "nano-restore-half", 1.0: RESTORING},
    "small-restore": {0.0: "small", 1.0: "small-restore"},
}
"""Bundles of the package between a faithful student and the restoring one of its size, by how far
the weights are on the way."""


def at_strength(model: str, strength: float) -> str:
    """The bundle that redraws so much.

    Args:
        model: A restoring student of the package, or one on the way to it.
        strength: 0 for the faithful student of its size, 1 for the restoring one.

    Raises:
        ConfigError: Another model, or the package has no bundle of that strength.
    """
    restoring = next((name for name in STRENGTHS if model in STRENGTHS[name].values()), None)
    if restoring is None:
        raise ConfigError(
            f"--strength {strength:g} of '{model}', which has no strengths: take it with "
            f"--model {' or '.join(STRENGTHS)}"
        )
    points = STRENGTHS[restoring]
    if strength not in points:
        raise ConfigError(
            f"--strength {strength:g} of '{restoring}': the package has bundles for "
            f"{', '.join(f'{point:g}' for point in points)}; make one of your own with 'adcvsr "
            f"blend {points[0]} {restoring} --alpha {strength:g} -o own.safetensors' and 'adcvsr "
            "export own.safetensors -o own', then --model ./own"
        )
    return points[strength]


class Student(NamedTuple):
    """A student of the package."""

    name: str

    reason: str
    """Why this one, for people."""


def choose_student(
    among: Among,
    pixels: int | None,
    rate: Fraction | None,
    *,
    backend: str = "auto",
    variant: str | None = None,
    threads: int = 0,
) -> Student:
    """Take the best-looking one that has the time.

    Args:
        among: Which ones, and how long they may take.
        pixels: Of a frame of the input; None where that is not known yet.
        rate: Frames a second, likewise; of pictures nothing counts on it.
        backend: See `create_session`; a GPU takes the best without measuring.
        variant: Likewise; students that lack it are passed over.
        threads: Likewise.

    Returns:
        The first that fits, else the last that can run.

    Raises:
        BackendUnavailableError, BundleError, MissingPackageError: None can run here.
    """
    last: Student | None = None
    for name in among.names:
        try:
            bundle = open_bundle(name)
            choice = choose_backend(bundle, backend=backend, variant=variant)
        except (
            BackendUnavailableError,
            BundleError,
            BundleNotFoundError,
            MissingPackageError,
        ):
            if name == among.names[-1] and last is None:
                raise
            continue
        if choice.backend != "ort-cpu":
            return Student(
                name,
                f"the best that can run on {choice.backend}, where no time is measured beforehand",
            )
        if pixels is None or rate is None:
            last = Student(name, "the quickest, as the size of the input is not known beforehand")
            continue
        milliseconds, said = cpu_milliseconds(bundle, choice.candidates, threads)
        seconds = milliseconds / 1000 * pixels / (WIDTH * HEIGHT)
        times = seconds if among.still else seconds * float(rate)
        unit = " s a picture" if among.still else " times as long as the video plays"
        took = f"about {times:.1f}{unit} ({said})"
        if times <= among.most:
            within = "s" if among.still else "times"
            reason = f"the best-looking within {among.most:g} {within}; it takes {took}"
            return Student(name, reason)
        last = Student(name, f"the quickest; it takes {took}")
    assert last is not None
    return last
