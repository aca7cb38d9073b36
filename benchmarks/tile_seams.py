"""What tiles change in the picture: against whole frames, and across their seams.

For each tile size the tiled result is compared with that of whole frames, in levels. A seam shows
where the difference jumps from one pixel to the next, so the step across tile edges is set against
the step elsewhere, at lines of the same phase of the network's strides: a pixel-shuffle network
steps at every block. `cut` lays tiles side by side without overlap, for comparison.

    python benchmarks/tile_seams.py BUNDLE CLIP [--tiles 128 256] [--frames 8] [--picture OUT.png]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from adcvsr.bundle import open_bundle
from adcvsr.metrics import psnr_y
from adcvsr.pictures.clips import read_clip, write_png
from adcvsr.pictures.spacing import Spacing
from adcvsr.runtime.sessions import tiles
from adcvsr.runtime.upscaler import Upscaler


class CutTiling(tiles.Tiling):
    """Tiles side by side, sharing nothing."""

    def layout(self, height: int, width: int) -> tiles.TileLayout:
        """As `Tiling.layout`, without margins."""
        spacing = Spacing(self.side, 0)
        return tiles.TileLayout(spacing.place(height), spacing.place(width), None, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--tiles", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--parts", type=int, nargs="+", default=[tiles.BLEND_PART])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--picture", type=Path, help="last frame: whole, cut, tiled; left to right")
    arguments = parser.parse_args()
    frames = list(islice(read_clip(arguments.clip), arguments.frames))
    height, width = frames[0].shape[:2]
    print(f"{width}x{height}, {len(frames)} frames; differences to whole frames in levels")
    multiple = open_bundle(arguments.bundle).size_multiple
    whole, _ = upscale(arguments.bundle, frames, None, cut=False)
    for side in arguments.tiles:
        pictures = [whole[-1]]
        for part in [0, *arguments.parts]:
            tiles.BLEND_PART = part or 1
            tiled, layout = upscale(arguments.bundle, frames, side, cut=not part)
            kind = "exact" if layout.radius is not None else f"blended {layout.overlap}"
            report("cut" if not part else kind, side, layout, multiple, tiled, whole)
            pictures.append(tiled[-1])
        if arguments.picture:
            target = arguments.picture.with_stem(f"{arguments.picture.stem}_{side}")
            write_png(target, np.hstack(pictures))


def upscale(
    bundle: str, frames: list[np.ndarray], side: int | None, *, cut: bool
) -> tuple[np.ndarray, tiles.TileLayout]:
    with Upscaler(bundle, tile=side) as upscaler:
        session = upscaler.session
        if cut:
            session.tiling = CutTiling(side, session.tiling.multiple, None)
        pictures = np.stack(list(upscaler.upscale_clip(frames)))
        return pictures, session.layout


def report(
    kind: str,
    side: int,
    layout: tiles.TileLayout,
    multiple: int,
    tiled: np.ndarray,
    whole: np.ndarray,
) -> None:
    difference = tiled.astype(np.float32) - whole
    size = np.abs(difference)
    across, elsewhere = seam_steps(difference, layout, multiple)
    psnr = np.mean([psnr_y(*pair) for pair in zip(tiled, whole, strict=True)])
    print(
        f"tile {side:4} {kind:12} {layout.count:3} tiles, work {layout.work:.2f}: "
        f"PSNR-Y {psnr:5.1f} dB, mean {size.mean():.3f}, 99 % {np.percentile(size, 99):.1f}, "
        f"max {size.max():.0f}; step at tile edges {across:.3f}, elsewhere {elsewhere:.3f}, "
        f"ratio {across / max(elsewhere, 1e-9):.2f}"
    )


def seam_steps(
    difference: np.ndarray, layout: tiles.TileLayout, multiple: int
) -> tuple[float, float]:
    """Mean size of the step from pixel to pixel, across tile edges and elsewhere."""
    across, elsewhere = [], []
    for axis, pieces in ((1, layout.rows), (2, layout.columns)):
        length = difference.shape[axis]
        steps = np.abs(np.diff(difference, axis=axis)).mean(tuple({0, 1, 2, 3} - {axis}))
        edges = {4 * e for p in pieces[1:] for e in (p.fade_start, p.fade_stop)}
        others = set(range(4 * multiple, length, 4 * multiple)) - edges
        across += [steps[edge - 1] for edge in edges]
        elsewhere += [steps[other - 1] for other in others]
    return float(np.mean(across or [0])), float(np.mean(elsewhere))


if __name__ == "__main__":
    main()
