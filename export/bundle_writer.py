"""Checkpoint to bundle: graph, parity, golden vectors, manifest; nothing half-written.

The same checkpoint, name and toolchain give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .. import __version__
from ..bundle import MANIFEST, Bundle
from ..bundle_schema import SCHEMA_VERSION
from ..config import SCALE
from ..errors import BundleError, OutputExistsError, OutputNotWritableError
from ..model import AdcVsr, load_checkpoint
from .graph import INPUT_NAME, OPSET, OUTPUT_NAME, stream_graph
from .parity import LEVEL_TOLERANCE, GoldenClip, check_parity

VARIANT = "fp32-onnx"
GOLDEN_FILE = "golden.npz"
CARD_FILE = "model_card.md"
LICENCE_OF_OURS = "Apache-2.0"
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Zip files carry times; a fixed one keeps bytes reproducible."""


def export_bundle(
    checkpoint: Path,
    output: Path,
    *,
    name: str | None = None,
    card: Path | None = None,
    overwrite: bool = False,
    report: Callable[[str], None],
) -> Bundle:
    """Export a checkpoint to a bundle and prove it.

    Args:
        checkpoint: Written by `adcvsr train`.
        output: The bundle: a directory, or one file when it ends in `.zip`.
        name: The bundle's name; None takes the network's.
        card: A model card to include.
        overwrite: Replace an existing bundle.
        report: Called with lines to show.

    Returns:
        The bundle, opened and every file verified.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        ParityError: The graph is not the network; nothing is written.
        OutputExistsError: The output exists and `overwrite` is off.
        OutputNotWritableError: The output cannot be written.
    """
    check_bundle_output(output, overwrite=overwrite)
    network, provenance = load_checkpoint(checkpoint)
    graph = stream_graph(network)
    parity, golden = check_parity(network, graph, stream_graph(network, float_output=True))
    report(
        f"parity over {parity.frames} frames with carried state: picture {parity.float_error:.2g}, "
        f"state {parity.state_error:.2g}, levels {parity.level_error}"
    )
    files = {f"{VARIANT}.onnx": graph.SerializeToString(deterministic=True)}
    files[GOLDEN_FILE] = _golden_bytes(golden)
    if card is not None:
        files[CARD_FILE] = card.read_bytes()
    variant = {
        "file": f"{VARIANT}.onnx",
        "opset": OPSET,
        "state_dtype": "float32",
        "nodes": len(graph.graph.node),
        "parity": asdict(parity),
    }
    manifest = _manifest(network, name or network.config.name, provenance, variant, files)
    _write(output, {MANIFEST: _json_bytes(manifest), **files})
    bundle = Bundle(output)
    bundle.verify_files()
    return bundle


def check_bundle_output(output: Path, *, overwrite: bool) -> None:
    """Refuse an output that must not be replaced: only a bundle may be, and only when asked.

    Raises:
        OutputExistsError: It exists and `overwrite` is off.
        OutputNotWritableError: It exists and is no bundle.
    """
    if not output.exists():
        return
    if not overwrite:
        raise OutputExistsError(f"output '{output}' exists; pass --overwrite to replace it")
    try:
        Bundle(output)
    except BundleError as error:
        raise OutputNotWritableError(
            f"output '{output}' is no bundle and is not replaced; choose another name"
        ) from error


def _manifest(
    network: AdcVsr,
    name: str,
    provenance: dict[str, Any],
    variant: dict[str, Any],
    files: dict[str, bytes],
) -> dict[str, Any]:
    config = network.config
    return {
        "schema": SCHEMA_VERSION,
        "name": name,
        "config": config.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "scale": SCALE,
        "trained": True,
        "size_multiple": config.size_multiple,
        "colour_match": {"mode": "none"},
        "interface": {
            "kind": "stream",
            "input": _picture(INPUT_NAME, 1),
            "output": _picture(OUTPUT_NAME, SCALE),
            "state": [
                {
                    "name": state,
                    "next": f"{state}_next",
                    "shape": [1, channels, {"of": "H", "div": div}, {"of": "W", "div": div}],
                }
                for state, (channels, div) in network.state_divisors().items()
            ],
        },
        "variants": {VARIANT: variant},
        "golden": {"file": GOLDEN_FILE, "max_level_error": LEVEL_TOLERANCE},
        "calibration": None,
        "licences": provenance.get("licences", [LICENCE_OF_OURS]),
        "provenance": {
            **provenance,
            "exported_with": {"adcvsr": __version__, "onnx": onnx.__version__},
        },
        "files": {
            file: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for file, data in sorted(files.items())
        },
    }


def _picture(name: str, scale: int) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": "uint8",
        "layout": "NHWC",
        "colour": "RGB",
        "range": [0, 255],
        "shape": [1, {"of": "H", "mul": scale}, {"of": "W", "mul": scale}, 3],
    }


def _golden_bytes(golden: GoldenClip) -> bytes:
    """The golden clip as npz with fixed times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in (("frames", golden.frames), ("upscaled", golden.upscaled)):
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(_zip_entry(f"{key}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _json_bytes(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _write(output: Path, files: dict[str, bytes]) -> None:
    """Write the bundle beside its final name, then move it there."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise OutputNotWritableError(f"cannot write beside '{output}': {error}") from error
    try:
        target = part / output.name
        if output.suffix == ".zip":
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, data in sorted(files.items()):
                    archive.writestr(_zip_entry(name), data, zipfile.ZIP_DEFLATED)
        else:
            target.mkdir()
            for name, data in files.items():
                (target / name).write_bytes(data)
        _put_in_place(target, output, aside=part / "replaced")
    except OSError as error:
        raise OutputNotWritableError(f"cannot write the bundle '{output}': {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put_in_place(target: Path, output: Path, *, aside: Path) -> None:
    """Move the new bundle to its name; the old one comes back if that fails."""
    if not output.exists():
        os.replace(target, output)
        return
    output.rename(aside)
    try:
        os.replace(target, output)
    except BaseException:
        aside.rename(output)
        raise


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
    entry.external_attr = 0o644 << 16
    return entry
