"""A blind look: crops of real clips by several upscalers, shuffled; the key opens after the choice.

    python benchmarks/blind_look.py make clips/ --model nano --model ./nano-restore -o look
    ...                # look at look/01.png and on, write down the letters, the best first
    python benchmarks/blind_look.py open look --choices "01=BAC 02=AB=C 03=B"

Each picture shows one crop of one clip by bicubic interpolation and every bundle, under letters in
an order of its own. The crop is where the last bundle changed most against bicubic, after so many
frames that states are filled. The choices are written into the folder before the key is read.
Letters that are left out come after those that are named, and `=` stands between two that cannot be
told apart. Of each pair it is counted how often which was preferred.
"""

from __future__ import annotations

import argparse
import json
import secrets
from collections import Counter
from itertools import combinations, islice
from pathlib import Path

import numpy as np

from adcvsr.calibration.evaluate.methods import Method, baselines, open_methods
from adcvsr.calibration.evaluate.strip import worst_crop
from adcvsr.calibration.evaluate.truth import TruthOptions, find_truth, read_pairs
from adcvsr.pictures.clips import write_png
from adcvsr.pictures.lettering import LETTER_HEIGHT_PX, write_text

CROP_PX, ZOOM, GAP_PX, TEXT_SCALE = 128, 3, 12, 3
KEY, CHOICES = "key.json", "choices.json"


def crops_of(
    file: Path, methods: list[Method], frame: int, centre_px: int
) -> dict[str, np.ndarray]:
    """The crop of one clip by method."""
    options = TruthOptions(frames=frame + 1, no_reference=True, centre_px=centre_px)
    pairs = list(islice(read_pairs(file, options), frame + 1))
    lows = [low for _, low in pairs]
    pictures = {method.name: list(method.upscale(iter(lows)))[-1] for method in methods}
    names = list(pictures)
    _, top, left = worst_crop(pictures[names[-1]], pictures[names[0]])
    area = slice(top, top + CROP_PX), slice(left, left + CROP_PX)
    return {name: picture[area] for name, picture in pictures.items()}


def draw(crops: list[np.ndarray]) -> np.ndarray:
    """Crops side by side under their letters."""
    head = LETTER_HEIGHT_PX * TEXT_SCALE + 2 * GAP_PX
    side = CROP_PX * ZOOM
    page = np.full((head + side, len(crops) * (side + GAP_PX), 3), 24, np.uint8)
    for index, crop in enumerate(crops):
        left = index * (side + GAP_PX)
        letter = chr(ord("A") + index)
        write_text(page, letter, top=GAP_PX, left=left, scale=TEXT_SCALE, level=235)
        large = crop.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
        page[head : head + large.shape[0], left : left + large.shape[1]] = large
    return page


def make(chosen: argparse.Namespace) -> None:
    """Write the pictures and the key."""
    chosen.output.mkdir(parents=True)
    key: dict[str, list[str]] = {}
    with open_methods(chosen.model, variants=chosen.variant or ()) as bundles:
        methods = [baselines()[0], *bundles]
        for number, file in enumerate(find_truth(chosen.clips), 1):
            crops = crops_of(file, methods, chosen.frame, chosen.centre)
            names = list(crops)
            secrets.SystemRandom().shuffle(names)
            key[f"{number:02}"] = names
            write_png(chosen.output / f"{number:02}.png", draw([crops[name] for name in names]))
            print(f"{number:02}.png: {file.name}")
    (chosen.output / KEY).write_text(json.dumps(key))


def places(choice: str, names: list[str]) -> dict[str, int]:
    """What a choice says of each method, 0 for the best.

    Args:
        choice: Letters, the best first; `=` joins two that cannot be told apart.
        names: Methods in the order of their letters.
    """
    found: dict[str, int] = {}
    place, joined = -1, False
    for letter in choice.upper():
        if letter == "=":
            joined = True
            continue
        index = ord(letter) - ord("A")
        if not 0 <= index < len(names) or names[index] in found:
            last = chr(ord("A") + len(names) - 1)
            raise SystemExit(f"'{choice}' is no order of the letters A to {last}, each once")
        place += 0 if joined else 1
        found[names[index]], joined = place, False
    return {name: found.get(name, place + 1) for name in names}


def open_key(chosen: argparse.Namespace) -> None:
    """Keep the choices, then read the key and count."""
    choices = dict(choice.split("=", 1) for choice in chosen.choices.split())
    path = chosen.output / CHOICES
    if path.exists():
        raise SystemExit(f"{path} holds choices already: the key has been seen")
    path.write_text(json.dumps(choices))
    key = json.loads((chosen.output / KEY).read_text())
    seen: list[dict[str, int]] = []
    for number, names in key.items():
        if number not in choices:
            print(f"{number}: no choice")
            continue
        seen.append(places(choices[number], names))
        best = " and ".join(name for name, place in seen[-1].items() if place == 0)
        print(f"{number}: {choices[number]}, the best is {best}; the letters: {', '.join(names)}")
    for one, other in combinations(sorted(seen[0]), 2):
        counts = Counter((p[one] > p[other]) - (p[one] < p[other]) for p in seen)
        print(f"{one} against {other}: {counts[-1]} to {counts[1]}, {counts[0]} alike")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make")
    making.add_argument("clips", type=Path, nargs="+")
    making.add_argument("--model", action="append", required=True)
    making.add_argument("--variant", action="append")
    making.add_argument("--frame", type=int, default=10)
    making.add_argument("--centre", type=int, default=1024, help="pixels of the output looked at")
    making.add_argument("-o", "--output", type=Path, required=True)
    making.set_defaults(run=make)
    opening = commands.add_parser("open")
    opening.add_argument("output", type=Path)
    opening.add_argument("--choices", required=True)
    opening.set_defaults(run=open_key)
    chosen = parser.parse_args()
    chosen.run(chosen)


if __name__ == "__main__":
    main()
