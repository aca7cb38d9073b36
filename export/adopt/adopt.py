"""A network of others to a bundle: tried, given a bundle's ends, proven; nothing half-written.

adopt(Path("model.param"), Path("my-bundle"), AdoptOptions(licence="BSD-3-Clause"), report=print)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from ...adopted_network import MOST_REACH, AdoptedNetwork
from ...bundle import Bundle
from ...bundle.schema import SCHEMA_VERSION, Manifest, Window
from ...errors import AdoptError
from ...files import file_entry, json_bytes
from ...given import MANIFEST
from ...runtime.proof.colours import MOST_PARAMETERS, request_for
from ...variants import REFERENCE
from ...version import __version__
from ..bundle_writer import check_bundle_output, folder_beside, put_in_place, write_golden
from ..colour_gate import gate_colours
from ..graphs.onnx_file import DATA_SUFFIX, EMBEDDED_LIMIT_BYTES, EXTERNAL_TENSOR_BYTES
from ..graphs.traced import CLIP_NAME, FEATURES_NAME, INPUT_NAME, OUTPUT_NAME
from ..graphs.variant_files import VariantFiles
from ..manifest import GOLDEN_FILE, picture_entry, state_entries, variant_entry
from ..parity import LEVEL_TOLERANCE
from ..variants import remember_proven
from .facts import Facts, Wanted, find_facts
from .known_networks import KnownNetwork, find_known
from .original import COLOURS, Asked, Original, read_original
from .parity import AdoptedParity, check_adopted
from .pixels import RANGES
from .reach import radius_of
from .surgery import stream_of
from .windows import Windowed, window_graphs

LICENCE_FILE = "LICENCE.txt"

LICENCE_LIMIT_BYTES = 1 << 20

TEXT_SUFFIXES = frozenset({".txt", ".md", ".rst", ".html"})
"""What ends so is meant as a file."""

MOST_EXACT = 96
"""Pixels to each side that tiles are cut exactly for; with more, tiles would be mostly margin."""

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """What a user says; None each for what is found."""

    name: str | None = None
    """The bundle's name; None takes the file's."""

    licence: str | None = None
    """A name such as `BSD-3-Clause`, or the path of a file with its text."""

    scale: int | None = None
    range: str | None = None
    layout: str | None = None
    colour: str | None = None

    state: tuple[tuple[str, str], ...] = ()
    """Inputs of state, each with what becomes it for the next frame."""

    lookahead: int = 0
    """Frames that the pictures of a network over clips may come late."""

    window: Window | None = None
    """Windows in which a network over clips is run, see `Asked.window`; None streams it."""

    overwrite: bool = False
    """Replace an existing bundle."""


def adopt(source: Path, output: Path, options: AdoptOptions, *, report: Report) -> Bundle:
    """Make a bundle of a network of others.

    Args:
        source: `.onnx`, ncnn's `.param` with its `.bin` beside it, or weights of PyTorch that
            spandrel knows.
        output: The bundle: a directory, or one file when it ends in `.zip`.
        options: What is not to be found by trial.
        report: Called with lines to show.

    Returns:
        The bundle, opened and every file verified.

    Raises:
        AdoptError: The network cannot be adopted, or nobody said its licence.
        ParityError: The bundle's graph does not give what the network gives; nothing is written.
        OutputExistsError, OutputNotWritableError: The output.
    """
    check_bundle_output(output, overwrite=options.overwrite)
    asked = Asked(
        layout=options.layout,
        states=dict(options.state),
        lookahead=options.lookahead,
        window=options.window,
    )
    original = read_original(source, asked)
    known = find_known(original.sha256)
    licence = _licence(options, known)
    for note in original.notes:
        report(note)
    if known is not None:
        report(f"known: {known.name}, {known.licence}, from {known.source}")
    facts = find_facts(original, _wanted(original, options, known))
    report(f"found: {facts.line()}")
    if doubt := facts.doubt():
        report(f"note: {doubt}")
    with folder_beside(output) as folder:
        kind = "stream" if original.windowed is None else "clip"
        files = VariantFiles(folder, REFERENCE, kind)
        radius = _write_graphs(original, facts, files)
        report(_reach_line(radius))
        parity, golden = check_adopted(original, facts, files)
        report(_parity_line(original, parity))
        network = AdoptedNetwork(
            adopted=original.adopted,
            name=source.stem,
            scale=facts.scale,
            size_multiple=facts.size_multiple,
            radius=radius if radius is not None and radius <= MOST_EXACT else None,
            past=_past(original),
            delay=_delay(original),
            origin_sha256=original.sha256,
        )
        whole = kind if original.parameters <= MOST_PARAMETERS else "clip"
        request = request_for(whole, facts.size_multiple, scale=facts.scale)
        colours = gate_colours(files, [], original.states, request, report=report)[REFERENCE]
        entry = variant_entry(
            files, "float32", {"parity": {**parity.to_json(), "colours": colours}}
        )
        write_golden(folder / GOLDEN_FILE, golden)
        if (text := licence[1]) is not None:
            (folder / LICENCE_FILE).write_bytes(text)
        manifest = _manifest(original, facts, network, options, licence[0], known, folder, entry)
        (folder / MANIFEST).write_bytes(json_bytes(manifest))
        remember_proven(Bundle(folder), REFERENCE)
        put_in_place(folder, output)
    bundle = Bundle(output)
    bundle.verify_files()
    return bundle


def _write_graphs(original: Original, facts: Facts, files: VariantFiles) -> int | None:
    """Write the bundle's graphs; returns how far they see, see `radius_of`."""
    if original.windowed is None:
        _save(stream_of(original, facts), files.graph)
        return radius_of(onnx.load(files.graph, load_external_data=False), facts.scale)
    unit, zero = RANGES[facts.range]
    assert original.clip is not None
    assert files.decoder is not None
    graphs = window_graphs(
        original.clip,
        original.windowed,
        scale=facts.scale,
        unit=unit,
        zero=zero,
        colour=facts.colour,
    )
    for model, path in zip(graphs, (files.graph, files.decoder), strict=True):
        _save(model, path)
    return None


def _past(original: Original) -> int:
    """Frames before a picture that it can depend on."""
    if original.recurrent is not None or original.windowed is not None:
        return MOST_REACH  # state of state has no end, and of a window all is seen
    return original.framed.past if original.framed else 0


def _delay(original: Original) -> int:
    """Frames after a picture that it can depend on."""
    if original.windowed is not None:
        return MOST_REACH
    return original.framed.ahead if original.framed else 0


def _wanted(original: Original, options: AdoptOptions, known: KnownNetwork | None) -> Wanted:
    """What is not to be found: what the user says, then what is known.

    Raises:
        AdoptError: The network has other colours than the user says.
    """
    torch = original.adopted == "pytorch"  # spandrel's networks all have these
    if original.luma and options.colour not in (None, "YUV"):
        raise AdoptError(
            f"'{original.files[0]}' takes luma alone, --colour {options.colour} is of three colours"
        )
    own = "YUV" if original.luma else None
    return Wanted(
        scale=options.scale or (known.scale if known else None),
        range=options.range or (known.range if known else "0-1" if torch else None),
        colour=options.colour or own or (known.colour if known else "RGB" if torch else None),
        known=options.range is None and options.colour is None,
    )


def _licence(options: AdoptOptions, known: KnownNetwork | None) -> tuple[str, bytes | None]:
    """Name of a licence, and its text where a file of it was given.

    Raises:
        AdoptError: Nobody said it, or the file is too large.
    """
    if options.licence is None:
        if known is None:
            raise AdoptError(
                "the licence of this network is not known, and a bundle says under which one it "
                "may be used: give --licence with its name (such as BSD-3-Clause) or with the file "
                "of its text"
            )
        return known.licence, None
    path = Path(options.licence)
    if not path.is_file():
        named = options.licence.strip() and options.licence.isprintable()
        if not named or path.is_dir() or path.suffix.lower() in TEXT_SUFFIXES:
            raise AdoptError(
                f"licence {options.licence!r} is no name and no file, expected a name such as "
                "BSD-3-Clause or the path of a file with the licence's text"
            )
        return options.licence, None
    if path.stat().st_size > LICENCE_LIMIT_BYTES:
        raise AdoptError(f"'{path}' has more than {LICENCE_LIMIT_BYTES:,} bytes: no licence's text")
    text = path.read_bytes()
    lines = text.decode("utf-8", "replace").splitlines()
    title = next((line.strip() for line in lines if line.strip()), path.name)
    return f"{title if title.isprintable() else path.name} ({LICENCE_FILE})", text


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, its weights beside it where they are large; it is checked as it lies there."""
    if model.ByteSize() > EMBEDDED_LIMIT_BYTES:
        onnx.save_model(
            model,
            path,
            save_as_external_data=True,
            location=path.name + DATA_SUFFIX,
            size_threshold=EXTERNAL_TENSOR_BYTES,
        )
    else:
        path.write_bytes(model.SerializeToString(deterministic=True))
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise AdoptError(f"the network's graph is not valid: {error}") from error


def _reach_line(radius: int | None) -> str:
    if radius is None:
        return (
            "reach: not known from its operators, or the whole picture: tiles are blended, not cut"
        )
    if radius > MOST_EXACT:
        return (
            f"reach: {radius} pixels to each side, more than the {MOST_EXACT} that tiles are cut "
            "exactly for: they are blended"
        )
    return f"reach: {radius} pixels to each side: tiles give what the whole picture would"


def _parity_line(original: Original, parity: AdoptedParity) -> str:
    line = (
        f"parity over {parity.frames} frames: levels {parity.level_error} to the original in ONNX "
        f"Runtime, {parity.float_error:.2f} before rounding"
    )
    if original.adopted != "ncnn":
        return line
    if parity.ncnn_level_error is None:
        return f"{line}; ncnn is not installed here, so its own output was not looked at"
    return f"{line}; levels {parity.ncnn_level_error} to ncnn's own output"


def _manifest(
    original: Original,
    facts: Facts,
    network: AdoptedNetwork,
    options: AdoptOptions,
    licence: str,
    known: KnownNetwork | None,
    folder: Path,
    entry: dict[str, Any],
) -> Manifest:
    adopted = {
        "format": original.adopted,
        "files": {path.name: _sha256(path) for path in original.files},
        "facts": asdict(facts),
        **({"states": states} if (states := _states(original)) else {}),
        **({"known": known.name, "source": known.source} if known else {}),
    }
    windowed = original.windowed
    return {
        "schema": SCHEMA_VERSION,
        "name": options.name or network.name,
        "config": network.to_dict(),
        "parameters": original.parameters,
        "scale": facts.scale,
        "trained": True,
        "size_multiple": facts.size_multiple,
        "colour_match": {"mode": "none"},
        "interface": {
            "kind": "stream" if windowed is None else "clip",
            "input": picture_entry(INPUT_NAME, 1, 1)
            if windowed is None
            else picture_entry(CLIP_NAME, "T", 1),
            "output": picture_entry(OUTPUT_NAME, 1, facts.scale),
            "state": state_entries(original.states),
            **({} if windowed is None else {"features": _features(facts)}),
        },
        **({} if windowed is None else {"window": _window(windowed)}),
        "variants": {REFERENCE: entry},
        "golden": {"file": GOLDEN_FILE, "max_level_error": LEVEL_TOLERANCE},
        "calibration": None,
        "licences": [licence],
        "provenance": {
            "adopted": adopted,
            "exported_with": {"adcvsr": __version__, "onnx": onnx.__version__},
        },
        "files": {file.name: file_entry(file) for file in sorted(folder.iterdir())},
    }


def _features(facts: Facts) -> dict[str, Any]:
    """What the manifest says of pictures folded into channels."""
    sides = [{"of": "H", "div": 1}, {"of": "W", "div": 1}]
    return {"name": FEATURES_NAME, "shape": ["T", COLOURS * facts.scale**2, *sides]}


def _window(windowed: Windowed) -> dict[str, Any]:
    filled = {"filled": True} if windowed.fixed else {}
    return {**asdict(windowed.window), **filled}


def _states(original: Original) -> dict[str, str]:
    """Of a network that carries its state: its inputs, and what becomes each."""
    if original.recurrent is None:
        return {}
    return {each.taken: each.given for each in original.recurrent.carried}


def _sha256(path: Path) -> str:
    return str(file_entry(path)["sha256"])
