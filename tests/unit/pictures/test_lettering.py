"""Labels in pictures."""

from __future__ import annotations

import numpy as np

from adcvsr.pictures.lettering import text_mask, write_text


def drawn(text: str) -> list[str]:
    return ["".join("#" if dot else "." for dot in row) for row in text_mask(text)]


def test_a_letter_and_a_digit() -> None:
    assert drawn("A4") == [
        ".###.....#..",
        "#...#...##..",
        "#...#..#.#..",
        "#####.#..#..",
        "#...#.#####.",
        "#...#....#..",
        "#...#....#..",
    ]


def test_every_printable_character_has_its_own_shape() -> None:
    shapes = {tuple(drawn(chr(code))) for code in range(ord(" "), ord("~") + 1)}
    assert len(shapes) == 95
    assert drawn("é") == drawn("\n") == drawn("\x7f")
    assert tuple(drawn("é")) not in shapes


def test_text_is_scaled_and_cut_off_at_the_edge() -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    write_text(picture, "HH", top=4, left=2, scale=2, level=200)
    assert (picture[4:18, 2:4] == 200).all()
    assert (picture[:4] == 0).all()
    assert (picture[18:] == 0).all()
    assert set(np.unique(picture)) == {0, 200}
