"""Drawn clips that show what a network does to colours footage hardly has.

Saturated primaries, studio green and blue, pure white and black, skin, dark noise, thin coloured
lines, screens, gradients: a graph quantized by footage alone cuts them off. They are drawn, so that
every machine has them. Quantization is calibrated on them too, and every variant is held to them:
docs/decisions.md, "Colours are held one by one".

    for clip in probe_clips(64, 96):
        ...  # clip.name, clip.frames (T, 64, 96, 3)
    mosaic = flat_mosaic(lattice(9), 192, 320)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..arrays import Floats, Levels
from .lettering import text_mask

PROBES_VERSION = 1
"""Goes up with every change of what is drawn: variants name the one they were made with."""

FRAMES = 4
"""Of each clip: the first without a past, the others with it."""

TILE_PX = 16
"""Side of a flat colour in a mosaic."""

GUARD_PX = 6
"""Of a tile at its edges, not looked at: what its neighbours do there is not its colour."""

LEVELS = 255

NAMED: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "studio green": (0, 177, 64),
    "studio blue": (0, 71, 187),
    "traffic red": (200, 30, 30),
    "orange": (230, 120, 20),
    "leaf": (40, 120, 30),
    "lime": (124, 252, 0),
    "gold": (255, 215, 0),
    "pink": (255, 105, 180),
    "light skin": (241, 194, 160),
    "skin": (198, 134, 96),
    "dark skin": (93, 56, 40),
    "grey": (128, 128, 128),
}
"""Colours by name, RGB levels."""

SHARP = ("thin coloured lines", "screen")
"""Clips of which single pixels differ from all around them."""


@dataclass(frozen=True)
class ProbeClip:
    """A drawn clip."""

    name: str
    """What it shows."""

    frames: Levels
    """(T, H, W, 3) uint8 RGB."""

    sharp: bool = False
    """Whether it is all edges of single pixels: text and thin lines."""


@dataclass(frozen=True)
class Mosaic:
    """Flat colours side by side, `TILE_PX` each, in as many stills as they need."""

    colours: Levels
    """(N, 3) RGB."""

    frames: Levels
    """(T, H, W, 3); what is left after the last colour is filled with it."""

    def centres(self, pictures: Levels, scale: int) -> Levels:
        """Cut the middle of every tile out of pictures of the frames.

        Args:
            pictures: (T, scale * H, scale * W, 3).
            scale: Of the network.

        Returns:
            (N, side, side, 3).
        """
        side, guard = TILE_PX * scale, GUARD_PX * scale
        columns = pictures.shape[2] // side
        rows = pictures.shape[1] // side
        cut = pictures[:, : rows * side, : columns * side]
        tiles = cut.reshape(len(cut), rows, side, columns, side, 3).swapaxes(2, 3)
        every: Levels = tiles.reshape(-1, side, side, 3)
        return every[: len(self.colours), guard : side - guard, guard : side - guard]


def lattice(steps: int) -> Levels:
    """Colours evenly spread over the RGB cube, each a neighbour of the one before.

    Args:
        steps: A channel: 9 gives 729 colours.

    Returns:
        (steps^3, 3) uint8.
    """
    levels = np.rint(np.linspace(0, LEVELS, steps)).astype(np.uint8)
    indices = [
        (r, g, b)
        for r in range(steps)
        for row, g in enumerate(_snake(steps, r))
        for b in _snake(steps, r * steps + row)
    ]
    found: Levels = levels[np.array(indices)]
    return found


def flat_colours() -> Levels:
    """All colours that flat patches are looked at in: the lattice of 729 and the named ones."""
    return np.concatenate([lattice(9), np.array(list(NAMED.values()), np.uint8)])


def flat_mosaic(colours: Levels, height: int, width: int) -> Mosaic:
    """Lay colours out as tiles, row by row.

    Args:
        colours: (N, 3).
        height: Of the frames in pixels, `TILE_PX` or more.
        width: Likewise.
    """
    rows, columns = height // TILE_PX, width // TILE_PX
    if not rows or not columns:
        raise ValueError(f"frames of {width}x{height}; a tile has {TILE_PX} pixels a side")
    count = -(-len(colours) // (rows * columns))
    fill = np.repeat(colours[-1:], count * rows * columns - len(colours), axis=0)
    tiles = np.concatenate([colours, fill]).reshape(count, rows, columns, 3)
    frames = tiles.repeat(TILE_PX, 1).repeat(TILE_PX, 2)
    rest = ((0, 0), (0, height - rows * TILE_PX), (0, width - columns * TILE_PX), (0, 0))
    return Mosaic(colours, np.pad(frames, rest, mode="edge"))


@lru_cache(maxsize=2)
def probe_clips(height: int, width: int) -> tuple[ProbeClip, ...]:
    """Draw clips full of colours.

    Args:
        height: In pixels.
        width: In pixels.

    Returns:
        The same for the same arguments; their frames cannot be written to.
    """
    drawn = {
        "saturated panels": _panels,
        "saturated textures": _textures,
        "thin coloured lines": _lines,
        "screen": _screen,
        "gradients": _gradients,
        "skin": _skin,
        "dark noise": _dark,
        "flashes": _flashes,
    }
    clips = tuple(
        ProbeClip(name, _levels(draw(height, width)), sharp=name in SHARP)
        for name, draw in drawn.items()
    )
    for clip in clips:
        clip.frames.setflags(write=False)
    return clips


def calibration_clips(height: int, width: int) -> list[ProbeClip]:
    """What every network is calibrated on beside its set: the clips, and flat colours.

    Args:
        height: In pixels.
        width: In pixels.
    """
    stills = flat_mosaic(lattice(5), max(height, TILE_PX), max(width, TILE_PX)).frames
    stills = stills[:, :height, :width]
    flat = [ProbeClip("flat colours", np.stack([still, still])) for still in stills]
    return [*probe_clips(height, width), *flat]


def _snake(steps: int, turn: int) -> Sequence[int]:
    """There and back, so that the next row begins where this one ends."""
    return range(steps) if turn % 2 == 0 else range(steps - 1, -1, -1)


def _levels(picture: Floats) -> Levels:
    levels: Levels = (picture + 0.5).clip(0, LEVELS).astype(np.uint8)
    return levels


def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return y, x


def _panels(height: int, width: int) -> Floats:
    """Flat panels of the first twelve colours, whose edges move."""
    y, x = _grid(height, width)
    colours = np.array(list(NAMED.values())[:12], np.float32)
    frames = []
    for t in range(FRAMES):
        column = np.floor((x + t) * 4 / width).astype(int) % 4
        row = np.floor(y * 3 / height).astype(int)
        frames.append(colours[row * 4 + column])
    return np.stack(frames)


def _textures(height: int, width: int) -> Floats:
    """The same panels with grain that moves and a weave."""
    grain = np.random.default_rng(1).normal(0, 18, (height, width + FRAMES, 1))
    y, x = _grid(height, width)
    weave = 24 * np.sin(1.1 * x + 0.4 * y)[..., None]
    moved = [grain[:, t : t + width] for t in range(FRAMES)]
    textured: Floats = (_panels(height, width) + np.stack(moved) + weave).astype(np.float32)
    return textured


def _lines(height: int, width: int) -> Floats:
    """Lines of one and two pixels in saturated colours on white, black, grey and each other."""
    y, x = _grid(height, width)
    colours = np.array(list(NAMED.values())[:8], np.float32)
    grounds = np.array([(255, 255, 255), (0, 0, 0), (128, 128, 128), (0, 0, 255)], np.float32)
    ground = np.floor(x * len(grounds) / width).astype(int)
    frames = []
    for t in range(FRAMES):
        picture = grounds[ground].copy()
        for k in range(0, height + width // 4, 6):
            distance = y + 0.25 * x - k - t
            at = (distance >= 0) & (distance < 1 + (k // 6) % 2)
            picture[at] = colours[2 + (k // 6) % 6]
        frames.append(picture)
    return np.stack(frames)


def _screen(height: int, width: int) -> Floats:
    """A window in light and in dark: bars, buttons, and text in colours."""
    picture = np.empty((height, width, 3), np.float32)
    picture[:, : width // 2], picture[:, width // 2 :] = 250, 30
    inks = [NAMED[n] for n in ("red", "blue", "green", "magenta", "studio blue", "orange")]
    for half, plain in ((0, (20, 20, 20)), (width // 2, (235, 235, 235))):
        picture[:8, half : half + width // 2 - 2] = NAMED["studio blue" if half else "cyan"]
        for line, top in enumerate(range(10, height - 7, 9)):
            mask = text_mask("Save? 100% OK - 12:34 <File> Edit & View " * 3)
            ink = plain if line % 2 else inks[line // 2 % len(inks)]
            room = picture[top : top + mask.shape[0], half + 2 : half + width // 2 - 12]
            room[mask[: room.shape[0], : room.shape[1]]] = ink
            picture[top : top + 6, half + width // 2 - 10 : half + width // 2 - 3] = inks[line % 6]
    return np.stack([np.roll(picture, -t, axis=0) for t in range(FRAMES)])


def _gradients(height: int, width: int) -> Floats:
    """All hues from black over full saturation to white, above ramps of grey."""
    y, x = _grid(height, width)
    frames = []
    for t in range(FRAMES):
        hue = ((x + t) / width * 6)[..., None] - np.array([0, 2, 4], np.float32)
        pure = (2 - np.abs((hue + 3) % 6 - 3)).clip(0, 1)
        share = (y / (0.85 * height))[..., None]
        picture = np.where(share < 0.5, pure * share * 2, pure + (1 - pure) * (share * 2 - 1))
        grey = np.broadcast_to(x[..., None] / width, picture.shape)
        frames.append(LEVELS * np.where(y[..., None] < 0.85 * height, picture, grey))
    return np.stack(frames).astype(np.float32)


def _skin(height: int, width: int) -> Floats:
    """Shaded skin of several tones with grain."""
    y, x = _grid(height, width)
    tones = np.array([NAMED[n] for n in ("light skin", "skin", "dark skin")], np.float32)
    tone = tones[np.floor(x * 3 / width).astype(int)]
    grain = np.random.default_rng(2).normal(0, 4, (height, width + FRAMES, 1))
    frames = []
    for t in range(FRAMES):
        light = 0.8 + 0.35 * np.cos(6 * (x + t) / width * np.pi) * np.sin(3 * y / height)
        frames.append(tone * light[..., None] + grain[:, t : t + width])
    return np.stack(frames).astype(np.float32)


def _dark(height: int, width: int) -> Floats:
    """Night: a few levels of light under a sensor's noise, new in every frame."""
    y, x = _grid(height, width)
    light = 12 + 10 * np.sin(5 * x / width) * np.cos(4 * y / height)
    noise = np.random.default_rng(3).normal(0, 7, (FRAMES, height, width, 3))
    return (light[..., None] + noise).astype(np.float32)


def _flashes(height: int, width: int) -> Floats:
    """Colours that change from frame to frame: the past is as far from the present as can be."""
    order = ("green", "magenta", "blue", "yellow", "black", "white", "red", "cyan")
    colours = np.array([NAMED[name] for name in order], np.float32)
    panel = np.floor(_grid(height, width)[1] * 4 / width).astype(int)
    return np.stack([colours[(panel * 2 + t) % len(colours)] for t in range(FRAMES)])
