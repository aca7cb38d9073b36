"""Network to bundle: graphs, parity, golden vectors, manifest; nothing half-written.

The same network, name and toolchain give the same bytes. Everything is written beside the bundle's
final place and moved there when it is whole.

    export_bundle(Path("checkpoint.safetensors"), Path("my-bundle"), settings, report=print)
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..arrays import Levels
from ..bundle import Bundle
from ..bundle.schema import StateSpec
from ..config import AdcVsrConfig
from ..errors import BundleError, OutputExistsError, OutputNotWritableError
from ..files import check_new, json_bytes
from ..given import MANIFEST
from ..graph.past import past_of
from ..leftovers import move_in, part_folder
from ..model import AdcVsr, load_checkpoint
from ..model.untrained import untrained_network
from ..runtime.proof.colours import ColourRequest, request_for
from ..variants import REFERENCE
from .archive import zip_entry, zip_folder
from .channel_alignment import REFERENCE_PX, alignment_entry, check_alignment
from .colour_gate import gate_colours
from .endurance import check_endurance
from .fp16.half_precision import FP16, half_entry, read_half_clips, write_half
from .graphs.traced import OUTPUT_NAME
from .graphs.variant_files import VariantFiles, input_shapes, state_specs, write_graphs
from .manifest import GOLDEN_FILE, BundleSettings, manifest_of, variant_entry
from .parity import GoldenClip, ParityReport, check_parity
from .variants import remember_proven

CARD_FILE = "model_card.md"

Report = Callable[[str], None]


def export_bundle(
    checkpoint: Path, output: Path, settings: BundleSettings | None = None, *, report: Report
) -> Bundle:
    """Export a checkpoint to a bundle and prove it.

    Args:
        checkpoint: Written by `adcvsr train` or `adcvsr import`.
        output: The bundle: a directory, or one file when it ends in `.zip`.
        settings: What the checkpoint does not say.
        report: Called with lines to show.

    Returns:
        The bundle, opened and every file verified.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        ConfigError: The settings do not fit the network.
        ParityError: The graphs are not the network; nothing is written.
        OutputExistsError: The output exists and `settings.overwrite` is off.
        OutputNotWritableError: The output cannot be written.
    """
    settings = settings or BundleSettings()
    check_bundle_output(output, overwrite=settings.overwrite)
    network, provenance = load_checkpoint(checkpoint)
    return _write_bundle(network, provenance, output, settings, trained=True, report=report)


def export_untrained(
    config: AdcVsrConfig,
    output: Path,
    settings: BundleSettings | None = None,
    *,
    seed: int = 0,
    report: Report,
) -> Bundle:
    """Export a network with weights by rule, for speed and build work; its manifest says so.

    Args:
        config: Any preset or other config.
        output: See `export_bundle`.
        settings: See `export_bundle`.
        seed: See `untrained_network`.
        report: See `export_bundle`.

    Returns:
        See `export_bundle`.

    Raises:
        AdcVsrError: See `export_bundle`.
    """
    settings = settings or BundleSettings()
    check_bundle_output(output, overwrite=settings.overwrite)
    settings.check(config)
    network = untrained_network(config, seed=seed)
    provenance = {"untrained": {"rule": "adcvsr.model.untrained", "seed": seed}}
    return _write_bundle(network, provenance, output, settings, trained=False, report=report)


def check_bundle_output(output: Path, *, overwrite: bool) -> None:
    """Refuse an output that must not be replaced: only a bundle may be, and only when asked.

    Raises:
        OutputExistsError: It exists and `overwrite` is off.
        OutputNotWritableError: It exists and is no bundle; its folder is missing or not writable.
    """
    check_new(output, overwrite=overwrite)
    if not output.exists():
        return
    try:
        Bundle(output)
    except BundleError as error:
        raise OutputNotWritableError(
            f"output '{output}' is no bundle and is not replaced; choose another name"
        ) from error


def _write_bundle(
    network: AdcVsr,
    provenance: dict[str, Any],
    output: Path,
    settings: BundleSettings,
    *,
    trained: bool,
    report: Report,
) -> Bundle:
    settings.check(network.config)
    kind = "stream" if network.config.causal else "clip"
    clips = read_half_clips(settings.calibration, kind, network.config.size_multiple)
    with folder_beside(output) as folder:
        files, state = write_graphs(network, folder, REFERENCE), state_specs(network)
        parity, golden = check_parity(network, files, state)
        report(_parity_line(parity, kind))
        facts = {"parity": asdict(parity), "alignment": _alignment(network, files, state, report)}
        if trained and network.config.is_recurrent:
            facts["endurance"] = asdict(check_endurance(network))
        variants = {REFERENCE: variant_entry(files, "float32", facts)}
        if settings.fp16:
            variants[FP16] = _add_half(files, state, clips, report)
        if trained:  # weights by rule make no picture, whose colours could be held
            request = request_for(kind, network.config.size_multiple)
            _add_colours(variants, files, state, request, report)
        write_golden(folder / GOLDEN_FILE, golden)
        if settings.card is not None:
            shutil.copyfile(settings.card, folder / CARD_FILE)
        manifest = manifest_of(
            network,
            provenance,
            settings,
            variants,
            folder,
            state=state,
            past_frames=_past_frames(network, files, state),
            trained=trained,
        )
        (folder / MANIFEST).write_bytes(json_bytes(manifest))
        for variant in variants:
            remember_proven(Bundle(folder), variant)
        put_in_place(folder, output)
    bundle = Bundle(output)
    bundle.verify_files()
    return bundle


def _past_frames(network: AdcVsr, files: VariantFiles, state: Sequence[StateSpec]) -> int | None:
    """How many frames a causal network looks back, from its graph; None of one that is not."""
    if not network.config.causal:
        return None
    return past_of(files.graph.read_bytes(), state, OUTPUT_NAME, network.config)


def _alignment(
    network: AdcVsr, files: VariantFiles, state: Sequence[StateSpec], report: Report
) -> dict[str, Any]:
    graphs = [onnx.load(graph, load_external_data=False) for graph in files.graphs]
    shapes = input_shapes(network, state, *REFERENCE_PX)
    found = check_alignment(list(zip(graphs, shapes, strict=True)))
    for each in found:
        report(each.line())
    return alignment_entry(found)


def _add_half(
    files: VariantFiles, state: Sequence[StateSpec], clips: list[Levels], report: Report
) -> dict[str, Any]:
    half, distance, conversion = write_half(files, state, clips)
    report(
        f"{FP16} against {REFERENCE} over {distance.frames} real frames: {distance.psnr_db} dB at "
        f"worst, levels {distance.level_error}, {len(conversion['kept_fp32_for_range'])} nodes "
        "kept in FP32 for their range"
    )
    return variant_entry(half, "float16", half_entry(distance, conversion))


def _add_colours(
    variants: dict[str, dict[str, Any]],
    files: VariantFiles,
    state: Sequence[StateSpec],
    request: ColourRequest,
    report: Report,
) -> None:
    """Hold the colours of all variants, and put what was found into their entries."""
    names = [name for name in variants if name != REFERENCE]
    others = [VariantFiles(files.folder, name, files.kind) for name in names]
    colours = gate_colours(files, others, state, request, report=report)
    for name, entry in colours.items():
        variants[name]["parity"]["colours"] = entry


def _parity_line(parity: ParityReport, kind: str) -> str:
    beside = (
        f"features {parity.features_error:.2g}"
        if kind == "clip"
        else f"state {parity.state_error:.2g}"
    )
    return (
        f"parity over {parity.frames} frames: picture {parity.float_error:.2g}, {beside}, "
        f"levels {parity.level_error}"
    )


def write_golden(path: Path, golden: GoldenClip) -> None:
    """Write the golden clip as npz with fixed times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in (("frames", golden.frames), ("upscaled", golden.upscaled)):
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(zip_entry(f"{key}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)


@contextmanager
def folder_beside(output: Path) -> Iterator[Path]:
    """An empty folder on the output's disk, removed with all that is still in it."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        parts = ExitStack()
        part = parts.enter_context(part_folder(output.parent))
    except OSError as error:
        raise OutputNotWritableError(f"cannot write beside '{output}': {error}") from error
    try:
        folder = part / "bundle"
        folder.mkdir()
        yield folder
    except OSError as error:
        if isinstance(error, OutputNotWritableError | OutputExistsError):
            raise
        raise OutputNotWritableError(f"cannot write the bundle '{output}': {error}") from error
    finally:
        parts.close()


def put_in_place(folder: Path, output: Path) -> None:
    """Move the finished folder, or one file made of it, to its name."""
    target = folder
    if output.suffix == ".zip":
        target = folder.with_suffix(".zip")
        zip_folder(folder, target)
    move_in(target, output)
