"""What a bundle is and holds, as JSON and as text, for `adcvsr inspect`.

for line in lines(inspect_bundle(open_bundle("nano"))):
    print(line)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..bundle import Bundle, describe
from ..bundle.origin import training_data
from ..errors import BundleError, GraphError, MissingPackageError

MEBI = 1 << 20

PROOF = ("calibration", "parity", "endurance", "conversion")
"""Of a variant's facts, those said to people; JSON has all."""


def inspect_bundle(bundle: Bundle, *, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Facts of a bundle as JSON-ready values; every file is read and held against its hash.

    Args:
        bundle: An opened bundle.
        size: Input height and width in pixels to count the cost of a frame at (of a clip network:
            of one window); None for no cost.

    Returns:
        `describe`'s facts, the schema, interface, `past_frames` (null where the past of a stream
        never ends, or its graph is damaged), files (each with `intact` and, where it is not,
        `damage`), variants with everything the manifest says, licences and provenance; `engines` in
        the cache of its graphs, with what their layers are where that is known; with `size`
        `cost` by variant, or `cost_missing` with the reason.
    """
    manifest = bundle.manifest
    files = {name: _file(bundle, name) for name in sorted(manifest["files"])}
    facts = {
        **describe(bundle),
        "variants": manifest["variants"],
        "schema": manifest["schema"],
        "kind": bundle.kind,
        "size_multiple": bundle.size_multiple,
        "config": bundle.config.to_dict(),
        "interface": manifest["interface"],
        "past_frames": _past_frames(bundle),
        "window": manifest.get("window"),
        "colour_match": manifest["colour_match"],
        "golden": manifest["golden"],
        "licences": manifest["licences"],
        "provenance": manifest["provenance"],
        "files": files,
        "intact": all(file["intact"] for file in files.values()),
        "engines": _engines(bundle),
    }
    return facts if size is None else {**facts, **_costs(bundle, *size)}


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say the facts of `inspect_bundle` to people.

    Args:
        facts: As returned there.

    Yields:
        Lines without their ends.
    """
    trained = "" if facts["trained"] else ", untrained"
    origin = (
        f"preset {facts['preset']}"
        if "preset" in facts
        else f"{facts['network']}, adopted from {facts['adopted']}"
    )
    yield f"{facts['name']}: {origin}, {facts['parameters']:,} parameters{trained}"
    yield f"path        {facts['path']}"
    yield f"schema      {facts['schema']}, {len(facts['files'])} files, {_size(facts['bytes'])}"
    yield f"graphs      {_kind(facts)}"
    yield from _tensors(facts["interface"])
    if facts["kind"] == "stream":
        yield f"past        {_past(facts['past_frames'])}"
    yield f"sizes       multiples of {facts['size_multiple']}; the runtime pads and crops"
    yield f"colours     match: {facts['colour_match']['mode']}"
    yield f"licences    {', '.join(facts['licences'])}"
    yield from _training(facts["provenance"])
    for name, entry in facts["variants"].items():
        yield from _variant(name, entry, facts.get("cost", {}).get(name))
    if "cost_missing" in facts:
        yield f"cost        not counted: {facts['cost_missing']}"
    for name, file in facts["files"].items():
        state = "intact" if file["intact"] else f"DAMAGED: {file['damage']}"
        yield f"file        {name:24} {_size(file['bytes']):>10}  {file['sha256'][:12]}  {state}"
    for engine in facts["engines"]:
        yield f"engine      {engine['what']} ({engine['key'][:12]})"
        if engine["layers"] is not None:
            from ..runtime.engine.layers import text_of

            yield f"{'':12}{text_of(engine['layers'])}"


def _past_frames(bundle: Bundle) -> int | None:
    from ..graph.past import past_of

    if bundle.kind != "stream":
        return None
    graph = next(iter(bundle.variants.values())).file
    try:
        return past_of(bundle.read(graph), bundle.state, bundle.output_name, bundle.config)
    except (BundleError, GraphError):  # which file it is, is said with the files
        return None


def _file(bundle: Bundle, name: str) -> dict[str, Any]:
    entry = dict(bundle.manifest["files"][name])
    try:
        bundle.verify_file(name)
    except BundleError as error:
        return {**entry, "intact": False, "damage": str(error)}
    return {**entry, "intact": True}


def _engines(bundle: Bundle) -> list[dict[str, Any]]:
    """Engines of the bundle's graphs in the cache, last used first."""
    from ..runtime.engine.engine_cache import EngineCache

    graphs = {entry["sha256"] for entry in bundle.manifest["files"].values()}
    return [
        {
            "key": entry.key,
            **{key: entry.facts.get(key) for key in ("what", "variant", "part", "size", "layers")},
        }
        for entry in EngineCache().entries()
        if entry.identity.get("onnx") in graphs
    ]


def _costs(bundle: Bundle, height: int, width: int) -> dict[str, Any]:
    from ..graph.cost import count_bundle_cost

    frames = bundle.window.frames if bundle.window else 1
    costs: dict[str, Any] = {}
    try:
        for name in bundle.variants:
            cost = count_bundle_cost(bundle, name, height=height, width=width, frames=frames)
            costs[name] = {
                "height": height,
                "width": width,
                "frames": frames,
                "multiply_adds": cost.multiply_adds,
                "activation_bytes": cost.activation_bytes,
                "peak_activation_bytes": cost.peak_activation_bytes,
                "state_bytes": cost.state_bytes,
                "weight_bytes": cost.weight_bytes,
            }
    except (MissingPackageError, BundleError) as error:
        return {"cost": costs, "cost_missing": str(error)}
    return {"cost": costs}


def _training(provenance: Mapping[str, Any]) -> Iterator[str]:
    """Folders of all runs, and how many runs do not say theirs; nothing where there was no run."""
    told = training_data(provenance)
    if not told.runs:
        return
    folders = ", ".join(f"{name} {files}" for name, files in sorted(told.folders.items()))
    missing = f"{told.silent} of {told.runs} runs do not say" if told.silent else ""
    yield f"trained on  {'; '.join(part for part in (folders, missing) if part)}"


def _kind(facts: Mapping[str, Any]) -> str:
    if facts["kind"] == "stream":
        return "stream: one frame and its state in, one picture and the next state out"
    window = facts["window"]
    return (
        f"clip: windows of {window['frames']} frames that share {window['overlap']}, then picture "
        "by picture"
    )


def _past(frames: int | None) -> str:
    if frames is None:
        return "never ends, or is not known: exact from the start and from resets alone; no jobs"
    if not frames:
        return "none: every frame by itself"
    return f"{frames} frame{'s' if frames > 1 else ''}: cut there, a stream keeps its bits"


def _tensors(interface: Mapping[str, Any]) -> Iterator[str]:
    tensors = [("in", interface["input"]), ("out", interface["output"])]
    tensors += [("state", each) for each in interface.get("state", ())]
    if "features" in interface:
        tensors.insert(1, ("features", interface["features"]))
    for role, tensor in tensors:
        kind = f"{tensor['dtype']} {tensor['colour']} " if "dtype" in tensor else ""
        yield f"{role:11} {tensor['name']}: {kind}({', '.join(map(_axis, tensor['shape']))})"


def _axis(axis: Any) -> str:
    if not isinstance(axis, Mapping):
        return str(axis)
    if axis.get("mul", 1) > 1:
        return f"{axis['mul']}{axis['of']}"
    return str(axis["of"]) if axis.get("div", 1) == 1 else f"{axis['of']}/{axis['div']}"


def _variant(name: str, entry: Mapping[str, Any], cost: Mapping[str, Any] | None) -> Iterator[str]:
    opset, nodes = entry.get("opset", "not said"), entry.get("nodes", "number not said of")
    yield f"variant     {name}: opset {opset}, {nodes} nodes, {entry['state_dtype']} state"
    for part in PROOF:
        told = {k: v for k, v in (entry.get(part) or {}).items() if _is_plain(v)}
        if told:
            yield f"{'':12}{part}: {', '.join(f'{k} {_number(v)}' for k, v in told.items())}"
    if (stated := entry.get("statement")) is not None:
        yield f"{'':12}statement: {stated['line']}"
    if (refused := entry.get("refused")) is not None:
        yield f"{'':12}statement: {refused['line']} {refused['meaning']}"
    for precision, share in (entry.get("census") or {}).items():
        yield (
            f"{'':12}census: {share['convolutions']:.1%} of convolutions, "
            f"{share['multiply_adds']:.1%} of multiply-adds, {share['weights']:.1%} of weights in "
            f"{precision}"
        )
    if cost:
        frames = "a frame" if cost["frames"] == 1 else f"a window of {cost['frames']} frames"
        yield (
            f"{'':12}{frames} of {cost['width']}x{cost['height']}: "
            f"{cost['multiply_adds'] / 1e9:.2f} GMAC, weights {_size(cost['weight_bytes'])}, state "
            f"{_size(cost['state_bytes'])}, activations {_size(cost['activation_bytes'])} "
            f"(most at once {_size(cost['peak_activation_bytes'])})"
        )


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _size(count: float) -> str:
    return f"{count / MEBI:.1f} MiB" if count >= MEBI else f"{count / 1024:.1f} KiB"
