"""The colour gate of every variant: drawn colours held against the FP32 graphs'.

`quantize` and `export` ask the same: `ColourLimits` has the limits, the manifest's `parity.colours`
what was found.

    colours = gate_colours(files, [half], state, request, report=print)
    colours["fp16-trt"]  # for the manifest
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..arrays import Levels
from ..bundle.schema import StateSpec
from ..errors import WrongColoursError
from ..pictures.colour_probes import PROBES_VERSION
from ..runtime.proof.colours import (
    ColourLimits,
    ColourRequest,
    ColoursFound,
    Run,
    compare_colours,
    run_colours,
)
from .graphs.replay import replay
from .graphs.variant_files import VariantFiles


def gate_colours(
    exact: VariantFiles,
    others: Sequence[VariantFiles],
    state: Sequence[StateSpec],
    request: ColourRequest,
    *,
    report: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Run drawn colours through a network's graphs before they become a bundle.

    What FP32 itself makes of flat colours is said and no error: the graph is the network there, and
    training alone mends that.

    Args:
        exact: The FP32 graphs, which all others are held against.
        others: Variants made of them.
        state: Their carried state; empty for a clip network.
        request: What is drawn, see `colour_request`.
        report: Called with lines to show.

    Returns:
        By variant, what the manifest says of its colours, see `colours_entry`.

    Raises:
        WrongColoursError: A variant gives wrong colours.
    """
    limits = ColourLimits()
    expected = run_colours(_runner(exact, state), request)
    own = compare_colours(expected, None, request)
    report(f"colours of {exact.id}: {own.line()}")
    why = own.why_beyond(limits)
    if why is not None:
        report(
            f"note: {why}; that is the network itself, not its export: variants are held to its "
            "colours, and training alone mends them"
        )
    entries = {exact.id: colours_entry(own, own, limits)}
    for files in others:
        found = compare_colours(run_colours(_runner(files, state), request), expected, request)
        report(f"colours of {files.id}: {found.line()}")
        require_colours(found, limits, files.id, "Show the conversion more clips")
        entries[files.id] = colours_entry(found, own, limits)
    return entries


def require_colours(found: ColoursFound, limits: ColourLimits, variant: str, advice: str) -> None:
    """Hold colours against limits.

    Args:
        found: The variant's.
        limits: See there.
        variant: Its id.
        advice: What may help, a clause that begins with a capital.

    Raises:
        WrongColoursError: They are beyond; the worst colour is named.
    """
    why = found.why_beyond(limits)
    if why is not None:
        raise WrongColoursError(
            f"{variant} gives wrong colours: {why}; nothing was written. {advice}"
        )


def colours_entry(
    found: ColoursFound, reference: ColoursFound, limits: ColourLimits
) -> dict[str, Any]:
    """What the manifest says of a variant's colours.

    Args:
        found: The variant's.
        reference: FP32's own flat colours, against the input's.
        limits: What `found` was held to.
    """
    return {
        **found.to_json(),
        "limits": limits.colours_json(),
        "reference": reference.to_json(),
        "probes": PROBES_VERSION,
    }


def _runner(files: VariantFiles, state: Sequence[StateSpec]) -> Run:
    def run(clip: Levels) -> Levels:
        return replay(files, state, [clip])[0].picture

    return run
