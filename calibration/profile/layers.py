"""The layers of every variant: what each costs the picture for each millisecond it saves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from ...runtime.trace import Trace
from .request import Clip, ProfileRequest

LAYER_FRAMES, TIMED_FRAMES = 12, 23
"""Frames of the first clip that layers are looked at and timed on."""

NO_SAVING = 0.01
"""Share of a frame's time below which a layer's saving counts as this: it is in the noise."""

Note = Callable[[str], None]


def measure_layers(
    request: ProfileRequest,
    names: Sequence[str],
    clip: Clip,
    step: Callable[[], None],
    note: Note,
    trace: Trace | None,
) -> dict[str, Any] | None:
    """Damage and time of every layer.

    Args:
        request: What to measure.
        names: Variants, the reference first.
        clip: Of which the first frames are looked at, over and over where it is short.
        step: Called after every frame.
        note: Called with a line for what is left out.
        trace: Collects layers where they are timed.

    Returns:
        JSON-ready; None with a line where nothing can be told.
    """
    if request.bundle.kind != "stream":
        note("no layers: they are looked at in networks that run frame by frame")
        return None
    try:
        import onnx  # noqa: F401 - asked for, not used
    except ImportError:
        note("no layers: the package 'onnx' is not installed (pip install 'adcvsr[export]')")
        return None
    from .layer_damage import measure_damage
    from .layer_time import measure_layer_times

    frames = [clip.frames[i % len(clip.frames)] for i in range(max(LAYER_FRAMES, TIMED_FRAMES))]
    times = {
        name: measure_layer_times(
            request.bundle,
            name,
            frames[:TIMED_FRAMES],
            backend=request.backend,
            threads=request.threads,
            step=step,
            trace=trace,
        )
        for name in names
    }
    if not any(times.values()):
        note("no times of layers: the backend writes no profile")
    found: dict[str, Any] = {}
    for name in names[1:]:
        try:
            damage = measure_damage(request.bundle, names[0], name, frames[:LAYER_FRAMES], step)
        except Exception as error:  # ONNX Runtime's own untyped exceptions, as for fp8 on a CPU
            note(f"no layers of '{name}': ONNX Runtime cannot run its graph apart ({error})")
            continue
        for line in damage.notes:
            note(line)
        found[name] = {
            "layers": _ranked(damage.layers, times.get(names[0]), times.get(name)),
            "ranges": [asdict(each) for each in damage.ranges],
        }
    return {"times": times, "variants": found}


def _ranked(
    layers: Sequence[Any], before: dict[str, float] | None, after: dict[str, float] | None
) -> list[dict[str, Any]]:
    """Layers by damage to the picture for each millisecond saved, the worst bargain first."""
    frame_ms = sum(before.values()) if before else 0.0
    rows = []
    for each in layers:
        row = asdict(each)
        noise = None if each.picture_db is None else 10 ** (-each.picture_db / 10)
        row["picture_noise"] = noise
        row["reference_ms"] = before.get(each.layer) if before else None
        row["variant_ms"] = after.get(each.layer) if after else None
        saved = None
        if before and after:
            saved = before.get(each.layer, 0.0) - after.get(each.layer, 0.0)
        row["saved_ms"] = saved
        row["damage_per_ms"] = (
            None
            if noise is None
            else noise / max(saved if saved is not None else 1.0, NO_SAVING * frame_ms, 1e-6)
        )
        rows.append(row)
    return sorted(rows, key=lambda row: (-(row["damage_per_ms"] or 0.0), _noise_db(row)))


def _noise_db(row: dict[str, Any]) -> float:
    """Orders layers whose damage to the picture is not known."""
    return math.inf if row["isolated_db"] is None else float(row["isolated_db"])


def worst_layer(layers: dict[str, Any] | None, variant: str) -> str | None:
    """The layer that heads a variant's list, of what `measure_layers` gave; None without one."""
    rows = ((layers or {}).get("variants", {}).get(variant) or {}).get("layers")
    return rows[0]["layer"] if rows else None
