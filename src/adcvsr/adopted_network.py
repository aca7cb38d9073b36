"""What is known of a network that was adopted: facts found in its graph, in the place of a config.

network = open_bundle("my-bundle").config
network.radius  # pixels it sees to each side
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .reading import Item

MOST_SCALE = 4
"""Times the input's size that a network may make."""

MOST_REACH = 1 << 14
"""Pixels or frames; a network that sees further sees all there is."""

KINDS = ("onnx", "ncnn", "pytorch")
"""What networks are adopted from."""


@dataclass(frozen=True, kw_only=True)
class AdoptedNetwork:
    """A network whose inside is its graph's own business."""

    adopted: str
    """What it came as, one of `KINDS`."""

    name: str

    scale: int
    """Pixels of a side that one pixel's side becomes, 1 to `MOST_SCALE`."""

    size_multiple: int
    """See `AdcVsrConfig.size_multiple`."""

    radius: int | None
    """See `graph.receptive.spatial_radius`."""

    past: int
    """Frames before a picture that it can depend on; 0 of a network of single frames."""

    delay: int
    """Frames after a picture's own that it depends on: a stream's pictures come so much later; of a
    network that runs in windows `MOST_REACH`."""

    origin_sha256: str
    """Of the files it was adopted from, one after the other."""

    @property
    def causal(self) -> bool:
        """Whether no picture needs a frame after its own."""
        return self.delay == 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, as `from_item` reads them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_item(cls, found: Item) -> AdoptedNetwork:
        """Read what `to_dict` gave from a manifest.

        Raises:
            AdcVsrError: Of the document's class; a field is missing or out of its range.
        """
        radius = found.get("radius")
        return cls(
            adopted=found["adopted"].text(one_of=KINDS),
            name=found["name"].text(),
            scale=found["scale"].integer(1, MOST_SCALE),
            size_multiple=found["size_multiple"].integer(1, MOST_REACH),
            radius=None if radius is None else radius.integer(0, MOST_REACH),
            past=found["past"].integer(0, MOST_REACH),
            delay=found["delay"].integer(0, MOST_REACH),
            origin_sha256=found["origin_sha256"].text(),
        )
