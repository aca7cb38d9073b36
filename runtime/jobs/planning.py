"""Making a plan: what is in the input, what upscales and encodes it, and where segments begin."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ...errors import ConfigError, JobError
from ...host.processors import usable_processors
from ...pictures.hdr import is_hdr
from ...pictures.output_size import OutputSize
from ..deep import is_deep, open_deep
from ..processing.backends import create_session
from ..sessions.session import Session
from ..video.encoders import encoder_options, find_encoder
from ..video.hdr import encoder_of
from ..video.info import VideoInfo
from ..video.output_file import ENCODERS, check_output
from ..video.preset_fit import fit_preset
from ..video.sink import planes_for
from ..yuv import open_yuv
from .cutting import cut
from .identity import describe_network, local_source, open_network, source_file, versions_for
from .plan import JobPlan, Network
from .scan import Mode, Scan, scan
from .settings import JobSettings

CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv")
"""Which a job joins into."""

REPEATABLE = ("libx264", "libx265")
"""Encoders whose bits depend on nothing but pictures, options and threads."""

MOST_ENCODER_THREADS = 16

LEAST_SECONDS, MOST_SECONDS = 0.5, 3600.0
MOST_SEGMENTS = 99_999
"""Their files have five digits."""


def make_plan(settings: JobSettings, *, overwrite: bool = False, mode: Mode = "auto") -> JobPlan:
    """Plan a job; nothing is written.

    Args:
        settings: What was asked for.
        overwrite: Whether an existing output may be replaced.
        mode: How the frames are found, see `scan`.

    Raises:
        SettingsError, InputError, OutputError, BundleError: As for `Upscaler.upscale_file`.
        JobError: The network or the input cannot be cut into segments that are exact.
    """
    encoder = _check(settings)
    output, source = Path(settings.output), local_source(settings)
    check_output(output, settings.encode_options(None, overwrite=overwrite), source)
    bundle = open_network(settings)
    session = create_session(
        bundle, backend=settings.backend, variant=settings.variant, tile=settings.tile
    )
    with ThreadPoolExecutor(1) as threads:
        hashing = threads.submit(source_file, source)
        found = scan(source, settings.read_options(), mode)
        described = hashing.result()
    if not found.times:
        raise JobError(f"'{source}' has no frame to upscale")
    network, notes = _network(settings, session, found)
    encoder = encoder_of(output, found.info, settings.encoder, ENCODERS)
    # The detector of cuts compares with the frame before, whatever the network sees.
    warm_up = max(network.past_frames, 1)
    segments = cut(found, settings.segment_seconds, warm_up, network.ahead_frames)
    if len(segments) > MOST_SEGMENTS:
        raise ConfigError(
            f"{len(segments)} segments, at most {MOST_SEGMENTS}: choose a longer --segment-seconds"
        )
    return JobPlan(
        settings=settings,
        source=described,
        network=network,
        encoder=encoder,
        preset=_preset(settings, encoder, found.info, bundle.scale, notes.append),
        encoder_threads=min(usable_processors(), MOST_ENCODER_THREADS),
        versions=versions_for(network.backend),
        video=found.info,
        scan=found.how,
        damaged_packets=found.damaged_packets,
        damaged_frames=found.damaged_frames,
        notes=(*notes, *found.notes),
        segments=tuple(segments),
    )


def _network(settings: JobSettings, session: Session, found: Scan) -> tuple[Network, list[str]]:
    """Pin what runs, and say what of it is not as one might expect.

    Raises:
        ConfigError: The output cannot have the bits that are asked for, or frames cannot be YUV.
    """
    options, output = settings.encode_options(None), Path(settings.output)
    bundle, info = session.bundle, found.info
    matched = settings.colour_match or bundle.colour_match.mode
    notes: list[str] = []
    why = ""
    with ExitStack() as opened:
        if is_deep(output, info, options):
            session, why = open_deep(
                session,
                opened,
                matched=matched,
                asked=settings.variant is not None,
                tile=settings.tile,
                threads=0,
                note=notes.append,
                hdr=is_hdr(info.colours.transfer),
            )
        chosen = planes_for(output, info, options, why=why)
        session, why_not_yuv = open_yuv(
            session,
            opened,
            info.colours,
            chosen.why_not_yuv() or found.why_not_yuv,
            pixels=settings.pixels,
            matched=matched,
            tile=settings.tile,
        )
    if session.variant_reason:
        notes.append(f"variant {session.variant.id}: {session.variant_reason}")
    return describe_network(bundle, session, why, why_not_yuv), notes


def _preset(
    settings: JobSettings,
    encoder: str,
    info: VideoInfo,
    scale: int,
    note: Callable[[str], None],
) -> str | None:
    """The encoder's preset: what `auto` is here, for all machines.

    Raises:
        ConfigError: The output has no such size, or nothing is known of the encoder's presets.
    """
    sized = replace(settings.size() or OutputSize(), made=scale).of(
        info.width, info.height, aspect=info.sample_aspect, rotation=info.rotation
    )
    options, size = settings.encode_options(None), (sized.width, sized.height)
    return fit_preset(encoder, options, size, info.rate, note).preset


def _check(settings: JobSettings) -> str:
    """Refuse what a job cannot do, before anything is read; the encoder's name.

    Raises:
        ConfigError: A container, an encoder or a length that a job does not take.
    """
    suffix = Path(settings.output).suffix.lower()
    if suffix not in CONTAINERS:
        raise ConfigError(
            f"a job writes {', '.join(CONTAINERS)}, not '{suffix}': choose one of them, or upscale "
            "without a job"
        )
    encoder = settings.encoder or ENCODERS[suffix]
    if encoder not in REPEATABLE:
        raise ConfigError(
            f"encoder '{encoder}' was not shown to give the same bits wherever it runs; a job "
            f"takes {' or '.join(REPEATABLE)}"
        )
    find_encoder(encoder)
    encoder_options(encoder, settings.encode_options(1))
    if not LEAST_SECONDS <= settings.segment_seconds <= MOST_SECONDS:
        raise ConfigError(
            f"segments of {settings.segment_seconds:g} s; expected {LEAST_SECONDS:g} to "
            f"{MOST_SECONDS:g}"
        )
    return encoder
