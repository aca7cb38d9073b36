"""What a video's numbers can hold (bits, colour, alpha), and the encoder's format that keeps it.

A format that holds all of it is taken where the encoder has one, else the one that loses least,
which is said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ...errors import ConfigError

MOST_BITS = 10
"""What is written at most: encoders and players of twelve bits are few."""

COLOUR = {"420": "4:2:0", "422": "4:2:2", "444": "4:4:4"}
"""How much of the lines and columns has colour, as formats and as people write it, least first."""

ALPHA_ENCODERS = frozenset({"ffv1", "libvpx-vp9", "prores", "prores_ks"})
"""Encoders whose alpha players find again."""


@dataclass(frozen=True)
class Planes:
    """What frames of a format hold."""

    bits: int
    """Of a level."""

    colour: str
    """`420`, `422` or `444`; at least what a rarer one has. RGB is taken for 420: at four times the
    size its colours keep twice the lines and columns they had, and every player shows it."""

    alpha: bool = False

    gray: bool = False
    """Whether there is no colour at all."""

    def describe(self) -> str:
        """In a few words."""
        alpha = " with alpha" if self.alpha else ""
        return f"{self.bits} bits {COLOUR[self.colour]}{alpha}"


def planes_of(pixel_format: Any, *, layered: bool = False) -> Planes:
    """What frames of a format hold.

    Args:
        pixel_format: `av.VideoFormat` of decoded frames.
        layered: Whether alpha comes beside them, as in VP9.
    """
    bits = max((each.bits for each in pixel_format.components), default=8)
    alpha = layered or any(each.is_alpha for each in pixel_format.components)
    colour = [each for each in pixel_format.components if not (each.is_luma or each.is_alpha)]
    gray = not colour and not pixel_format.is_rgb and pixel_format.name != "pal8"
    if pixel_format.name.startswith("mono"):
        bits = 8
    if gray or pixel_format.is_rgb or pixel_format.name in ("pal8", "yuv410p", "yuv411p"):
        return Planes(bits, "420", alpha, gray)
    across = 2 * pixel_format.chroma_width(64) > 64
    down = 2 * pixel_format.chroma_height(64) > 64
    return Planes(bits, "444" if across else "422" if down else "420", alpha)


@dataclass(frozen=True)
class Chosen:
    """An encoder's format."""

    name: str
    """Of FFmpeg."""

    holds: Planes

    notes: tuple[str, ...] = ()
    """What is lost and why, or kept although few players can show it; a line each."""

    def why_not_yuv(self) -> str | None:
        """Say why pictures cannot come as YUV 4:2:0 of 8 bits; None where they can."""
        holds = self.holds
        if holds.gray or holds.alpha or (holds.bits, holds.colour) != (8, "420"):
            return f"the output is {self.name}" + (" and gray" if holds.gray else "")
        return None


def _formats() -> dict[str, Planes]:
    """Formats an encoder may be given, best supported by players first."""
    found = {}
    for alpha, bits, colour in product((False, True), (8, 10), COLOUR):
        name = f"yuv{'a' * alpha}{colour}p" + ("10le" if bits == 10 else "")
        found[name] = Planes(bits, colour, alpha)
        if not alpha and bits == 8:
            found[f"yuvj{colour}p"] = Planes(bits, colour)
    return found | {"nv12": Planes(8, "420"), "p010le": Planes(10, "420")}


FORMATS = _formats()


def choose_format(
    encoder: str, codec: Any, source: Planes, *, bits: int | None, colour: str, why: str = ""
) -> Chosen:
    """Choose what an encoder is given.

    Args:
        encoder: Its name.
        codec: `av.Codec` of it.
        source: What the source holds.
        bits: 8 or 10; None for the source's.
        colour: `auto` keeps the source's, `420` reduces it.
        why: Why no more than 8 bits can come, where that is so; they are 8 then.

    Raises:
        ConfigError: It takes none of `FORMATS`, or not the bits that are asked for.
    """
    supported = [f.name for f in codec.video_formats or []]
    known = {name: FORMATS[name] for name in FORMATS if name in supported}
    if encoder not in ALPHA_ENCODERS:
        known = {name: planes for name, planes in known.items() if not planes.alpha}
    if not known:
        raise ConfigError(
            f"encoder '{encoder}' takes {', '.join(supported[:4]) or 'no known pixel format'}; "
            "expected one that takes yuv420p or the like, such as libx264"
        )
    wanted = replace(
        source,
        bits=min(source.bits if bits is None else bits, 8 if why else MOST_BITS),
        colour="420" if colour == "420" else source.colour,
    )
    name = min(known, key=lambda each: _distance(known[each], wanted))
    holds = replace(known[name], gray=source.gray)
    if bits == 10 and (why or holds.bits < bits):
        reason = why or f"encoder '{encoder}' takes 8{_instead(encoder)}"
        raise ConfigError(f"--bits 10 is not possible: {reason}; leave it out, or --bits 8")
    return Chosen(name, holds, tuple(_notes(encoder, source, holds, bits, colour, why)))


def _instead(encoder: str) -> str:
    """What goes into webm, too, and has ten bits, where VP9's library has not its profile 2."""
    return ", libsvtav1 10 (--encoder)" if encoder == "libvpx-vp9" else ""


def _distance(planes: Planes, wanted: Planes) -> tuple[Any, ...]:
    """What is lost before what is added, and the best supported format of equals."""
    ranks = list(COLOUR)
    coarser = ranks.index(wanted.colour) - ranks.index(planes.colour)
    return (
        wanted.alpha and not planes.alpha,
        max(wanted.bits - planes.bits, 0),
        max(coarser, 0),
        planes.alpha and not wanted.alpha,
        abs(planes.bits - wanted.bits),
        abs(coarser),
    )


def _notes(
    encoder: str, source: Planes, holds: Planes, bits: int | None, colour: str, why: str
) -> list[str]:
    notes = []
    if source.bits > holds.bits:
        reason = why or ("--bits 8" if bits == 8 else f"encoder '{encoder}' takes no more")
        reason += _instead(encoder) if not why and bits is None else ""
        if holds.bits == MOST_BITS:
            reason = "no more are written"
        notes.append(f"{source.bits} bits are reduced to {holds.bits}: {reason}")
    ranks = list(COLOUR)
    if ranks.index(source.colour) > ranks.index(holds.colour):
        reason = "--chroma 420" if colour == "420" else f"encoder '{encoder}' takes no more"
        notes.append(f"{COLOUR[source.colour]} is reduced to {COLOUR[holds.colour]}: {reason}")
    if source.alpha and not holds.alpha:
        notes.append(
            f"the alpha channel is left out: '{encoder}' holds none; VP9 in webm, ProRes in mov "
            "(--encoder prores_ks) and FFV1 in mkv do"
        )
    rare = [f"{holds.bits} bits (--bits 8 reduces them)"] if holds.bits > 8 else []
    rare += [f"{COLOUR[holds.colour]} (--chroma 420 reduces it)"] if holds.colour != "420" else []
    if rare and encoder == "libx264":
        notes.append(f"kept: {' and '.join(rare)}; few players show H.264 of that in hardware")
    return notes
