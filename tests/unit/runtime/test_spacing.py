"""Geometry of windows and tiles: nothing left out, nothing twice, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcvsr.errors import ConfigError
from adcvsr.pictures.spacing import Spacing, crossfade
from adcvsr.runtime.sessions.tiles import Canvas, Tiling


@st.composite
def spacings(draw: st.DrawFn) -> Spacing:
    size = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, size - 1))
    return Spacing(size, overlap, draw(st.sampled_from([0, overlap])))


@given(spacings(), st.integers(1, 200))
def test_pieces_cover_every_index_once(spacing: Spacing, length: int) -> None:
    """Taken in order, what counts of each piece adds up to one at every index."""
    pieces = spacing.place(length)
    shares = np.zeros(length)
    for piece in pieces:
        assert 0 <= piece.start <= piece.fade_start <= piece.fade_stop < piece.stop <= length
        assert piece.stop - piece.start == min(spacing.size, length)
        new = np.zeros(length)
        new[piece.fade_stop : piece.stop] = 1
        width = piece.fade_stop - piece.fade_start
        new[piece.fade_start : piece.fade_stop] = np.arange(1, width + 1) / (width + 1)
        assert np.all(shares[piece.fade_start : piece.fade_stop] > 0.999)
        shares = shares * (1 - new) + new
        assert np.all(shares[: piece.stop] > 0.999)
    np.testing.assert_allclose(shares, 1)
    assert pieces[-1].stop == length


@given(spacings(), st.integers(1, 200))
def test_only_the_last_piece_leaves_the_stride(spacing: Spacing, length: int) -> None:
    pieces = spacing.place(length)
    assert [p.start for p in pieces[:-1]] == [i * spacing.stride for i in range(len(pieces) - 1)]
    assert pieces[-1].start <= (len(pieces) - 1) * spacing.stride
    longer = spacing.place(length + 1)
    assert longer[: len(pieces) - 1] == pieces[:-1]


@given(
    st.integers(1, 4), st.integers(0, 9), st.integers(1, 30), st.integers(1, 60), st.integers(1, 60)
)
def test_exact_tiles_keep_their_distance(
    multiple: int, radius: int, beside: int, rows: int, columns: int
) -> None:
    """What a tile gives is at least the radius away from its edges, but at the frame's own."""
    multiple = 2 ** (multiple - 1)
    side = (-(-2 * radius // multiple) + beside) * multiple
    height, width = rows * multiple, columns * multiple
    layout = Tiling(side, multiple, radius).layout(height, width)
    for axis, length in ((layout.rows, height), (layout.columns, width)):
        for piece, following in zip(axis, [*axis[1:], None], strict=True):
            assert piece.start % multiple == 0 == piece.stop % multiple
            assert piece.start == 0 or piece.fade_start - piece.start >= radius
            if following is not None:
                assert piece.stop - following.fade_start >= radius
                assert following.fade_start == following.fade_stop
            else:
                assert piece.stop == length


@given(
    st.sampled_from([None, 0, 3]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([16, 24, 40]),
)
def test_a_canvas_gives_the_picture_back(
    radius: int | None, height: int, width: int, side: int
) -> None:
    """Tiles of a picture give the picture, cut or blended."""
    picture = np.random.default_rng(0).integers(0, 256, (4 * height, 4 * width, 3), np.uint8)
    layout = Tiling(side, 1, radius).layout(height, width)
    canvas = Canvas(layout, 4)
    for row, column in layout:
        rows, columns = (slice(4 * p.start, 4 * p.stop) for p in (row, column))
        canvas.put(row, column, picture[rows, columns])
    assert np.array_equal(canvas.picture, picture)


def test_blended_tiles_make_a_ramp() -> None:
    layout = Tiling(32, 1, None).layout(8, 60)
    assert [p.start for p in layout.columns] == [0, 28]
    canvas = Canvas(layout, 4)
    for level, (row, column) in zip((0, 170), layout, strict=True):
        canvas.put(row, column, np.full((32, 128, 3), level, np.uint8))
    row = canvas.picture[5, :, 1].astype(int)
    assert np.array_equal(row[112:128], np.arange(1, 17) * 10)  # 4 pixels of input, 16 of output
    assert not row[:112].any()
    assert np.all(row[128:] == 170)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(1, 300), st.data())
def test_crossfade_rounds_to_nearest(old: int, new: int, of: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, of))
    (found,) = crossfade(np.array([old], np.uint8), np.array([new], np.uint8), share, of)
    assert abs(int(found) - (old + (new - old) * share / of)) <= 0.5


def test_too_small_tiles() -> None:
    with pytest.raises(ConfigError, match=r"sees 10 pixels around.*at least 22 pixels"):
        Tiling(21, 2, 10)
    with pytest.raises(ConfigError, match=r"sees its whole input.*at least 128 pixels"):
        Tiling(32, 16, None)
    assert Tiling(23, 2, 10).layout(40, 20).count == 10
