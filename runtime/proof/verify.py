"""Whether a bundle is what was proven: every file by its hash, every variant by running it.

found = verify_bundle(open_bundle("nano"))
found.outcome  # "passed", "failed" or "not judged"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...arrays import Frame
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import AdcVsrError, BackendUnavailableError, BundleError, MissingPackageError
from ...variants import REFERENCE
from ..processing.backends import create_session
from ..sessions.ort_precision import why_not_judged
from ..sessions.session import Session
from ..sessions.stream_session import StreamSession
from .colours import (
    ColourPictures,
    ColoursFound,
    colour_limits,
    colour_request,
    compare_colours,
    reference_pictures,
    run_colours,
    session_runner,
)
from .golden import GoldenLimit, golden_clip, golden_limit, replay_golden
from .graphs import refused_statement, why_other_graphs
from .runs import (
    RunsFound,
    golden_runs,
    hold_runs,
    judge_run,
    run_stream,
    stated_limits,
    unknown_limits,
)
from .yuv import YuvFound, compare_yuv

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not judged"

Golden = tuple[Frame, Frame]


@dataclass(frozen=True)
class VariantFound:
    """What became of one variant."""

    variant: str
    """Its id."""

    outcome: str
    """`passed`, `failed` or `not judged`."""

    reason: str
    """Figures and limit, or why there are none."""

    backend: str | None = None
    """What ran it; None where nothing did."""

    max_level_error: int | None = None
    """Largest difference of any pixel from the golden pictures."""

    psnr_db: float | None = None
    """To the golden pictures."""

    least_psnr_db: float | None = None
    """Limit, where there is one."""

    colours: ColoursFound | None = None
    """Drawn colours; None where they were not run."""

    yuv: YuvFound | None = None
    """The graph with YUV ends against this one; None where files run RGB."""

    runs: RunsFound | None = None
    """Golden runs of its statement; None where it has none or they were not run."""

    refused: str | None = None
    """What its statement was refused for and what that means; None where it was not."""


@dataclass(frozen=True)
class Verification:
    """What became of a bundle."""

    bundle: str
    """Its name."""

    damaged: dict[str, str]
    """Files that are not what the manifest says, and how."""

    files: int
    """All files."""

    variants: tuple[VariantFound, ...]

    @property
    def outcome(self) -> str:
        """`failed` where anything did, else `not judged` where anything could not be."""
        found = {each.outcome for each in self.variants}
        if self.damaged or FAILED in found:
            return FAILED
        return NOT_JUDGED if NOT_JUDGED in found else PASSED

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "outcome": self.outcome}

    def lines(self) -> list[str]:
        """For people."""
        whole = self.files - len(self.damaged)
        width = max((len(each.variant) for each in self.variants), default=0)
        return [
            f"{self.bundle}: {whole} of {self.files} files as they were written",
            *(f"damaged: {reason}" for reason in self.damaged.values()),
            *(
                line
                for v in self.variants
                for line in (
                    f"{v.variant:{width}}  {v.outcome:10}  {v.reason}",
                    *([f"{'':{width}}  {'note':10}  {v.refused}"] if v.refused else []),
                )
            ),
        ]


def verify_bundle(
    bundle: Bundle,
    *,
    backend: str = "auto",
    variants: Sequence[str] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> Verification:
    """Re-hash every file, and run the golden clip and drawn colours through variants.

    Args:
        bundle: An opened bundle.
        backend: What runs them; `auto` takes the best present for each variant.
        variants: Ids, or precisions for all of each; empty for all.
        progress: Called with what is looked at next.

    Returns:
        The findings. A variant that the backend cannot judge has not passed.

    Raises:
        BundleError: There is no such variant.
    """
    names = [name for text in variants for name in bundle.variants_named(text)]
    chosen = [bundle.variant(name) for name in dict.fromkeys(names or sorted(bundle.variants))]
    damaged: dict[str, str] = {}
    for name in sorted(bundle.manifest["files"]):
        progress(name)
        try:
            bundle.verify_file(name)
        except BundleError as error:
            damaged[name] = str(error)
    golden: Golden | BundleError
    try:
        golden = golden_clip(bundle)
    except BundleError as error:
        golden = error
    found = []
    colours = _Colours(bundle, damaged)
    for variant in chosen:
        progress(variant.id)
        judged = _judge(bundle, variant, backend, golden, damaged, colours)
        found.append(replace(judged, refused=refused_statement(bundle, variant)))
    return Verification(bundle.name, damaged, len(bundle.manifest["files"]), tuple(found))


class _Colours:
    """FP32's colours by ONNX Runtime on the CPU, run when they are first needed."""

    def __init__(self, bundle: Bundle, damaged: dict[str, str]) -> None:
        self.bundle, self.request = bundle, colour_request(bundle)
        reference = bundle.variants.get(REFERENCE)
        files = {*reference.graph_files, *reference.data_files} if reference else set(damaged)
        self._usable = reference is not None and not files & damaged.keys()
        self._expected: ColourPictures | None = None

    def judge(self, session: Session) -> tuple[ColoursFound, str | None]:
        """Hold an open session against it: figures, and why they are beyond."""
        itself = (session.variant.id, session.backend) == (REFERENCE, "ort-cpu")
        if self._usable and self._expected is None:
            self._expected = (
                run_colours(session_runner(session), self.request)
                if itself
                else reference_pictures(self.bundle, self.request)
            )
            self._usable = self._expected is not None
        request = self.request
        if not self._usable:  # flat colours are held against themselves then
            request = replace(request, clips=False)
        pictures = self._expected if itself else None
        if pictures is None:
            pictures = run_colours(session_runner(session), request)
        found = compare_colours(pictures, self._expected, request)
        return found, found.why_beyond(colour_limits(self.bundle, session.variant, found.against))


def _judge(
    bundle: Bundle,
    variant: Variant,
    backend: str,
    golden: Golden | BundleError,
    damaged: dict[str, str],
    colours: _Colours,
) -> VariantFound:
    mine = {variant.file, *variant.data_files, *variant.facts.get("files", ())} & damaged.keys()
    why = f"{', '.join(sorted(mine))} damaged" if mine else why_other_graphs(bundle, variant)
    if why is not None or isinstance(golden, BundleError):
        return VariantFound(variant.id, FAILED, f"not run: {why or golden}")
    try:
        session = create_session(bundle, backend=_backend(variant, backend), variant=variant.id)
    except (BackendUnavailableError, MissingPackageError) as error:
        return VariantFound(variant.id, NOT_JUDGED, str(error))
    reason = _why_not_judged(session)
    if reason is not None:
        return VariantFound(variant.id, NOT_JUDGED, reason, session.backend)
    try:
        return _replay(session, golden, golden_limit(bundle, variant, session.backend), colours)
    except AdcVsrError as error:
        # What the backends it is made for refuse has failed; others judge nothing.
        outcome = FAILED if session.backend in variant.name.own_backends else NOT_JUDGED
        return VariantFound(variant.id, outcome, str(error), session.backend)


def _backend(variant: Variant, asked: str) -> str:
    """A variant made for ONNX Runtime on CPUs is looked at there, whatever else is at hand."""
    return "ort-cpu" if asked == "auto" and variant.name.own_backends == ("ort-cpu",) else asked


def _why_not_judged(session: Session) -> str | None:
    if not session.backend.startswith("ort-"):
        return None
    from ..sessions.ort_cpu import import_onnxruntime

    variant = session.variant
    return why_not_judged(variant.precision, variant.state_dtype, import_onnxruntime().__version__)


def _replay(
    session: Session, golden: Golden, limit: GoldenLimit, colours: _Colours
) -> VariantFound:
    with session:
        levels, psnr_db = replay_golden(session, *golden)
        beyond = limit.why_beyond(levels=levels, psnr_db=psnr_db)
        # Colours cost a second or more; a variant that is another picture altogether needs none.
        found, wrong = (None, None) if beyond else colours.judge(session)
        beyond = beyond or wrong
        yuv = None if beyond else compare_yuv(session, golden[0])
        beyond = beyond or (yuv.why_beyond(limit.least_psnr_db) if yuv else None)
        runs, why_not = (None, "") if beyond else _repeat_statement(colours.bundle, session)
    beyond = beyond or (runs.why_beyond() if runs else None)
    held = f"largest error {levels}, {psnr_db:.1f} dB to the golden clip"
    if found is not None:
        held += f", colours within {found.flat_most} levels of {found.against}"
    if yuv is not None:
        held += f", YUV within {yuv.flat_most}"
    if runs is not None:
        held += f", {runs.within} of {runs.runs} golden runs within its statement"
    elif why_not:
        held += f", its statement was not repeated ({why_not})"
    return VariantFound(
        variant=session.variant.id,
        outcome=PASSED if beyond is None else FAILED,
        reason=f"{session.backend}: {beyond or f'{held}, {_required(limit)}'}",
        backend=session.backend,
        max_level_error=levels,
        psnr_db=round(psnr_db, 2),
        least_psnr_db=limit.least_psnr_db,
        colours=found,
        yuv=yuv,
        runs=runs,
    )


def _repeat_statement(bundle: Bundle, session: Session) -> tuple[RunsFound | None, str]:
    """Golden runs against FP32 by ONNX Runtime on the CPU.

    Returns:
        What was found, or None and why; neither where the variant has no statement.
    """
    limits = stated_limits(session.variant)
    if limits is None or not isinstance(session, StreamSession):
        return None, ""
    if unknown := unknown_limits(session.variant):
        return None, f"it has limits that this version does not know: {', '.join(unknown)}"
    runs = golden_runs(bundle, session.variant)
    try:
        exact = create_session(bundle, backend="ort-cpu", variant=REFERENCE)
    except (BackendUnavailableError, MissingPackageError) as error:
        return None, f"{REFERENCE} does not run on the CPU here: {error}"
    with exact:
        assert isinstance(exact, StreamSession)
        found = [
            judge_run(run_stream(session, run), run_stream(exact, run), scale=bundle.scale)
            for run in runs
        ]
    return hold_runs(found, limits), ""


def _required(limit: GoldenLimit) -> str:
    if limit.most_levels is not None:
        return f"an error of {limit.most_levels} allowed"
    return f"{limit.least_psnr_db:.1f} dB required"
