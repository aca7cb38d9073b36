"""An evaluation from request to report: what `adcvsr evaluate` runs and writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...config import SCALE
from ...errors import AdcVsrError, ConfigError
from ...fault import fault_line
from ...files import replace_file
from ...metrics import UsableMetrics
from ...version import __version__
from .evaluate import evaluate, left_out_px
from .methods import Method, baselines, frame_by_frame, open_methods
from .protocols import ProtocolClips, enlarge
from .scores import ClipScores, Evaluation
from .strip import Strip
from .truth import TruthOptions, reduce_bicubic

SCHEMA_VERSION = 1
"""Of the JSON report."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure on what."""

    files: Sequence[Path]
    """Images and videos."""

    models: Sequence[str | Path]
    """Names or paths of bundles."""

    metrics: UsableMetrics

    truth: TruthOptions = field(default_factory=TruthOptions)

    backend: str = "auto"

    variants: Sequence[str] = ()
    """Of every bundle; none for the backend's default."""

    reset_every_frame: bool = False
    """Measure each bundle also without its past."""

    strip: Path | None = None
    """Where to write the picture strip."""

    protocol: ProtocolClips | None = None
    """The field's benchmark, whose conventions `truth` follows."""


@dataclass(frozen=True)
class Report:
    """What came of a request."""

    request: Request
    methods: list[dict[str, Any]]
    """Name and facts of each."""

    evaluation: Evaluation

    failed: list[dict[str, str]] = field(default_factory=list)
    """File and error of each that could not be measured."""

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON-ready values."""
        return {
            "schema": SCHEMA_VERSION,
            "adcvsr": __version__,
            "protocol": {
                **self.request.truth.to_json(),
                "border_px": left_out_px(self.request.truth),
                **self._benchmark(),
            },
            "left_out": self.request.metrics.left_out,
            "methods": self.methods,
            **self.evaluation.to_json(),
            "failed": self.failed,
        }

    def _benchmark(self) -> dict[str, Any]:
        found = self.request.protocol
        if found is None:
            return {}
        return {
            "benchmark": found.protocol.to_json(),
            "inputs": found.inputs,
            "missing": list(found.missing),
            "odd": list(found.odd),
        }


def run_request(
    request: Request,
    *,
    note: Callable[[str], None],
    progress: Callable[[int, int], None] | None = None,
    done: Callable[[ClipScores], None] | None = None,
    failed: Callable[[str], None] | None = None,
) -> Report:
    """Load the bundles, measure, write the strip.

    Of several files those that cannot be measured are left to the report; one alone raises.

    Args:
        request: What to do.
        note: Called with a line for what is left out.
        progress: Called with frames done and expected.
        done: Called with the figures of each file as they are known.
        failed: Called with a line for each file of several that cannot be measured.

    Raises:
        UnreadableVideoError: The only file of truth cannot be used.
        BundleNotFoundError, BundleError: A bundle or variant.
        BackendUnavailableError, MissingPackageError: The backend cannot run here.
        OutputNotWritableError: The strip cannot be written.
    """
    lost: list[dict[str, str]] = []

    def lose(file: Path, error: Exception) -> None:
        reason = str(error) if isinstance(error, AdcVsrError) else f"'{file}': {fault_line(error)}"
        lost.append({"file": str(file), "error": reason})
        if failed is not None:
            failed(reason)

    for name, reason in request.metrics.left_out.items():
        note(f"{name} left out: {reason}")
    with open_methods(
        request.models,
        backend=request.backend,
        variants=request.variants,
        reset_every_frame=request.reset_every_frame,
        note=note,
    ) as bundles:
        truth = _of_scale(request.truth, bundles)
        methods = [*_baselines(request, truth.scale), *bundles]
        strip = _open_strip(bundles[0].name, methods, truth) if request.strip else None
        evaluation = evaluate(
            methods,
            request.files,
            request.metrics,
            options=truth,
            strip=strip,
            progress=progress,
            done=done,
            failed=lose if len(request.files) > 1 else None,
        )
    if strip is not None and request.strip is not None and evaluation.clips:
        strip.write(request.strip)
        if strip.left_out:
            note(f"the strip shows the worst of {len(request.files)} files, not all")
    return Report(request, [{"name": m.name, **m.facts} for m in methods], evaluation, lost)


def _baselines(request: Request, scale: int) -> list[Method]:
    """What bundles are measured beside; the field's benchmarks have MATLAB's bicubic."""
    if request.protocol is None:
        return baselines(scale)
    return [Method("bicubic", frame_by_frame(enlarge), {"a": -0.5, "as": "MATLAB"})]


def _of_scale(truth: TruthOptions, bundles: Sequence[Method]) -> TruthOptions:
    """Truth reduced by what the networks enlarge.

    Raises:
        ConfigError: They differ in it, or a degradation makes no such inputs.
    """
    scales = {method.name: int(method.facts["scale"]) for method in bundles}
    if len(set(scales.values())) > 1:
        named = ", ".join(f"'{name}' x{scale}" for name, scale in scales.items())
        raise ConfigError(f"networks of one scale can be compared, not {named}; run them apart")
    scale = next(iter(scales.values()), truth.scale)
    made = truth.low_folder is None and not truth.no_reference
    if made and scale != SCALE and truth.degrade is not reduce_bicubic:
        raise ConfigError(
            f"degradation '{truth.degradation}' makes inputs for x{SCALE} alone, these networks "
            f"are x{scale}; take bicubic"
        )
    return replace(truth, scale=scale)


def _open_strip(judged: str, methods: Sequence[Method], truth: TruthOptions) -> Strip:
    shown = _shown(methods)
    if not truth.no_reference:
        return Strip(judged, shown, truth.scale)
    baseline = methods[0].name
    return Strip(judged, [n for n in shown if n != baseline], truth.scale, instead=baseline)


def _shown(methods: Iterable[Method]) -> list[str]:
    """Methods of the strip: bicubic for both baselines, bundles with their state."""
    return [m.name for m in methods if m.name != "lanczos" and "reset_every_frame" not in m.facts]


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report; it appears under its name only when it is complete.

    Raises:
        OutputNotWritableError: It cannot be written.
    """
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    replace_file(path, lambda part: part.write_text(text))
