"""Makes the table of `adcvsr plan --all`: every preset's graphs, exported untrained and counted.

    python -m adcvsr.export.count_presets [BUNDLE ...]

A preset whose bundle is named is counted from that; exporting `paper` takes minutes and about 6 GB.
Writes into the package, beside `adcvsr.plan.preset_costs`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from ..bundle import Bundle, open_bundle
from ..config import PRESETS
from ..graph.cost import count_bundle_cost
from ..leftovers import part_folder
from ..plan.preset_costs import TABLE, pack_cost
from ..variants import REFERENCE
from .bundle_writer import export_untrained

WIDTH, HEIGHT = 320, 180


def main(names: Sequence[str]) -> None:
    """Count all presets and write the table.

    Args:
        names: Bundles at hand.
    """
    known = [open_bundle(name) for name in names]
    entries = []
    for name, config in PRESETS.items():
        found = next((bundle for bundle in known if bundle.config == config), None)
        if found is not None:
            entries.append(preset_entry(found))
        else:
            with part_folder() as folder:
                path = folder / name
                entries.append(preset_entry(export_untrained(config, path, report=_say)))
        _say(f"{name}: counted")
    table = {"width": WIDTH, "height": HEIGHT, "presets": entries}
    TABLE.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")


def preset_entry(bundle: Bundle) -> dict[str, Any]:
    """Count one preset's FP32 graphs: a line of the table."""
    frames, fresh = 1, 1
    if bundle.window is not None:
        frames, fresh = bundle.window.frames, bundle.window.frames - bundle.window.overlap
    cost = count_bundle_cost(bundle, REFERENCE, height=HEIGHT, width=WIDTH, frames=frames)
    return {
        "preset": bundle.config.name,
        "width": WIDTH,
        "height": HEIGHT,
        "frames": frames,
        "fresh_frames": fresh,
        **pack_cost(cost),
    }


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
