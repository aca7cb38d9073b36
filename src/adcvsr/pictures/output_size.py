"""How large a written video is: what the network makes, or that reduced once on its way.

Sizes are meant as the picture is shown: upright, and where its pixels are not square either in its
own pixels or in square ones.

    OutputSize(height=1080).of(640, 480)  # Sized(width=1440, height=1080, ...)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..config import SCALE
from ..errors import ConfigError

SCALES = (2, 3, 4)
"""Times the input's size that can be asked for; more than the network makes is enlarged."""

MOST_SIDE = 1 << 16
"""Pixels of a side that can be asked for; encoders take fewer and say so."""

SHAPE_TOLERANCE = Fraction(1, 100)
"""Relative; two shapes that differ less are one, such as 854x480 and 16:9."""


@dataclass(frozen=True)
class Sized:
    """What becomes of frames of one size; as stored, before rotation."""

    width: int
    """Pixels, even."""

    height: int
    """Pixels, even."""

    aspect: Fraction
    """Width over height of a pixel."""

    notes: tuple[str, ...] = ()
    """What is not as one might expect, a line each."""


@dataclass(frozen=True, kw_only=True)
class OutputSize:
    """A size that is asked for: times the input's, a height, or a size.

    Raises:
        ConfigError: It is not possible, or two are asked for.
    """

    scale: int | None = None
    """2, 3 or 4."""

    height: int | None = None
    """Pixels, even; the width follows from the picture's shape."""

    size: tuple[int, int] | None = None
    """Width and height in pixels, even, in the picture's shape unless `fit`."""

    made: int = SCALE
    """Times the input's size that the network makes; what is meant where nothing is asked for."""

    fit: bool = False
    """Whether the output is the largest one of the picture's shape within `size`."""

    def __post_init__(self) -> None:
        """Refuse what is no size."""
        given = [x for x in (self.scale, self.height, self.size) if x is not None]
        if len(given) > 1:
            raise ConfigError("--scale, --height and --output-size are one question: give one")
        if self.fit and self.size is None:
            raise ConfigError("--fit says how --output-size is meant: give both")
        if self.scale is not None and self.scale not in SCALES:
            raise ConfigError(
                f"a scale of {self.scale!r}; choose from {', '.join(map(str, SCALES))}, or give a "
                "size"
            )
        for side in self.size or ((self.height,) if self.height is not None else ()):
            if not 2 <= side <= MOST_SIDE or (side % 2 and not self.fit):
                raise ConfigError(
                    f"a side of {side} pixels; expected an even number from 2 to {MOST_SIDE}: half "
                    "of a video's lines and columns have colour"
                )

    @property
    def label(self) -> str:
        """For a file's name: `x2`, `1080p` or `1920x1080`."""
        if self.size is not None:
            return "{}x{}".format(*self.size)
        return f"{self.height}p" if self.height is not None else f"x{self.scale or self.made}"

    def of(
        self, width: int, height: int, *, aspect: Fraction = Fraction(1), rotation: int = 0
    ) -> Sized:
        """What frames of a size become.

        Args:
            width: Width of the input as stored, pixels.
            height: Height of the input as stored, pixels.
            aspect: Width over height of its pixels.
            rotation: Degrees by which it is turned to be shown.

        Raises:
            ConfigError: The size that is asked for has another shape.
        """
        if rotation % 180:
            turned = self.of(height, width, aspect=1 / aspect)
            return Sized(turned.height, turned.width, 1 / turned.aspect, turned.notes)
        wide, high, pixel = self._shown(width, height, aspect)
        notes = []
        if wide > width * self.made or high > height * self.made:
            notes.append(
                f"the network makes {width * self.made}x{height * self.made}: {wide}x{high} "
                "is enlarged from it by a plain filter"
            )
        if wide * high < width * height:
            notes.append(f"{wide}x{high} is smaller than the input, {width}x{height}")
        if self.scale is not None and (wide, high) != (width * self.scale, height * self.scale):
            notes.append(
                f"{width * self.scale}x{height * self.scale} becomes {wide}x{high}: "
                "sides of a video are even"
            )
        if pixel != aspect:
            notes.append(
                f"pixels of {aspect.numerator}:{aspect.denominator} become square: "
                f"{wide}x{high} has the shape of what is shown"
            )
        return Sized(wide, high, pixel, tuple(notes))

    def _shown(self, width: int, height: int, aspect: Fraction) -> tuple[int, int, Fraction]:
        own = Fraction(width, height)
        if self.height is not None:
            return _even(self.height * own), self.height, aspect
        if self.size is None:
            scale = self.scale or self.made
            return _even(width * scale), _even(height * scale), aspect
        wide, high = self.size
        shape = Fraction(wide, high)
        if self.fit:
            shown = own * aspect
            square = (_even_below(high * shown), _even_below(high))
            if abs(shape / shown - 1) <= SHAPE_TOLERANCE:
                square = (_even_below(wide), _even_below(high))
            elif shown > shape:
                square = (_even_below(wide), _even_below(wide / shown))
            return *square, Fraction(1)
        if abs(shape / own - 1) <= SHAPE_TOLERANCE:
            return wide, high, aspect
        if abs(shape / (own * aspect) - 1) <= SHAPE_TOLERANCE:
            return wide, high, Fraction(1)
        shown = own * aspect
        raise ConfigError(
            f"{wide}x{high} has another shape than the picture ({width}x{height}"
            + (f" with pixels of {aspect.numerator}:{aspect.denominator}" if aspect != 1 else "")
            + f"); {_even(high * shown)}x{high} and {wide}x{_even(wide / shown)} have its shape, "
            "and --fit takes the one that lies within"
        )


def _even(side: Fraction | int) -> int:
    """The nearest even number, the larger one between two; at least 2."""
    return max(int(Fraction(side) / 2 + Fraction(1, 2)) * 2, 2)


def _even_below(side: Fraction | int) -> int:
    """The nearest even number that is not larger by a pixel or more; at least 2."""
    return max(int((Fraction(side) + Fraction(1, 2)) / 2) * 2, 2)
