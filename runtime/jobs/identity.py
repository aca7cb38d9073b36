"""What makes bits: the source, the network and the programs, held against a plan."""

from __future__ import annotations

from pathlib import Path

import av

from ...bundle import Bundle, open_bundle
from ...errors import BundleError, ClipNetworkError, ConfigError, InputNotFoundError, JobError
from ...files import file_sha256
from ...graph.past import past_of
from ...variants import ENGINE_BACKENDS
from ...version import __version__
from ..sessions.session import Session
from .plan import JobPlan, Network, SourceFile, changed
from .settings import JobSettings
from .staging import is_stored, stage


def local_source(settings: JobSettings) -> Path:
    """The input on this machine; of one in a store a copy, fetched if need be.

    Raises:
        InputNotFoundError: It cannot be read.
    """
    if is_stored(settings.source):
        return stage(settings.source)[0]
    return Path(settings.source)


def source_file(path: Path) -> SourceFile:
    """Describe an input; all of it is read.

    Raises:
        InputNotFoundError: It cannot be read.
    """
    try:
        facts = path.stat()
        return SourceFile(facts.st_size, facts.st_mtime_ns, file_sha256(path))
    except OSError as error:
        raise InputNotFoundError(f"no file '{path}': {error.strerror}") from error


def require_source(plan: JobPlan, *, thorough: bool = False) -> Path:
    """Find the input of a plan, unchanged.

    Args:
        plan: Of the job.
        thorough: Whether all of it is read even where size and time are those of the plan.

    Returns:
        Its path.

    Raises:
        InputNotFoundError: It is gone.
        JobError: It was changed.
    """
    planned = plan.source
    if is_stored(plan.settings.source):
        path = stage(plan.settings.source, planned.sha256)[0]
        if thorough and file_sha256(path) != planned.sha256:
            raise JobError(
                f"'{path}', the copy of '{plan.settings.source}', is damaged; remove it, and it is "
                "fetched again"
            )
        return path
    path = Path(plan.settings.source)
    try:
        facts = path.stat()
    except OSError as error:
        raise InputNotFoundError(
            f"no file '{path}': {error.strerror}; the job was planned with it"
        ) from error
    again = "put the planned one back, or plan a new job"
    if facts.st_size != planned.bytes:
        raise JobError(
            f"'{path}' was changed after the job was planned: {facts.st_size} bytes, "
            f"{planned.bytes} in the plan; {again}"
        )
    if thorough or facts.st_mtime_ns != planned.modified_ns:
        found = file_sha256(path)
        if found != planned.sha256:
            raise JobError(
                f"'{path}' was changed after the job was planned: sha256 {found[:12]}…, "
                f"{planned.sha256[:12]}… in the plan; {again}"
            )
    return path


def versions_for(backend: str) -> dict[str, str]:
    """Versions here of everything that makes bits.

    Args:
        backend: What runs the network.
    """
    found = {"adcvsr": __version__, "av": av.__version__}
    for name in ("libavcodec", "libavformat", "libavfilter", "libswscale"):
        found[name] = ".".join(map(str, av.library_versions.get(name, ())))
    if backend in ENGINE_BACKENDS:
        from ..nvidia.flavour import load_flavour

        found[backend] = load_flavour(backend).version
    else:
        from ..sessions.ort_cpu import import_onnxruntime

        found["onnxruntime"] = import_onnxruntime().__version__
    return found


def describe_network(
    bundle: Bundle, session: Session, why_not_deep: str, why_not_yuv: str
) -> Network:
    """Pin a network.

    Args:
        bundle: Opened.
        session: What runs it.
        why_not_deep: See `Network`.
        why_not_yuv: Likewise.

    Raises:
        JobError: Its past has no end, so that no segment could begin exactly.
        BundleError: A graph is damaged, or the manifest says another past than it has.
    """
    variant = session.variant
    past = past_of(bundle.read(variant.file), bundle.state, bundle.output_name, bundle.config)
    if past is None:
        raise JobError(
            f"bundle '{bundle.name}' carries a state that never ends (it is recurrent): a segment "
            "would have other pictures than the whole; upscale the file without a job, or take a "
            "network with a finite past, such as nano"
        )
    stored = bundle.manifest["interface"].get("past_frames", past)
    if stored != past:
        raise BundleError(
            f"'{bundle.path}': the manifest says that the network looks {stored} frames back, its "
            f"graph {variant.file} does {past}; export it again"
        )
    files = sorted({*variant.graph_files, *variant.data_files})
    hashes = {name: bundle.manifest["files"][name]["sha256"] for name in files}
    return Network(
        bundle.name,
        variant.id,
        session.backend,
        hashes,
        past,
        session.deep,
        why_not_deep,
        session.yuv is not None,
        why_not_yuv,
        bundle.scale,
        bundle.delay,
    )


def open_network(settings: JobSettings) -> Bundle:
    """Open the bundle of a job.

    Raises:
        BundleError: It is not there, damaged, or untrained and that was not allowed.
        ClipNetworkError: It is not causal.
        ConfigError: Colours are averaged over all that was before.
    """
    bundle = open_bundle(settings.model)
    if not bundle.trained and not settings.allow_untrained:
        raise BundleError(
            f"bundle '{bundle.name}' is untrained: its output is no picture; --allow-untrained "
            "runs it"
        )
    if bundle.kind != "stream":
        raise ClipNetworkError(
            f"bundle '{bundle.name}' is not causal: its windows are laid out from the first frame "
            "on and blended, so that a segment by itself would have other pictures than the whole "
            "file; upscale it without a job"
        )
    mode = settings.colour_match or bundle.colour_match.mode
    if mode == "ema":
        raise ConfigError(
            "colour match 'ema' averages over all that was before, so that a segment by itself "
            "would have other colours than the whole file; a job takes --colour-match frame or none"
        )
    return bundle


def require_same_programs(plan: JobPlan, bundle: Bundle) -> None:
    """Refuse to work with another network or other versions than the plan's.

    Raises:
        JobError: With every difference.
    """
    found = changed(plan.versions.items(), versions_for(plan.network.backend))
    here = {name: entry["sha256"] for name, entry in bundle.manifest["files"].items()}
    found += changed(plan.network.sha256.items(), here)
    if found:
        raise JobError(
            f"this worker would make other bits than the plan's: {'; '.join(found)}. Install the "
            "plan's versions here, or plan a new job"
        )
