"""Opening a video file, choosing its stream, and demuxing as far as damage lets one."""

from __future__ import annotations

import errno
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av

from ...errors import ConfigError, InputNotFoundError, UnreadableVideoError
from ...given import CHECKPOINT, VIDEO, mistaken, refuse_address, similar, what_is
from ...pictures import pyav
from ...pictures.clips import ffmpeg_reason, media_url
from ...system_errors import system_reason
from .hardware_decode import Decoder, accelerator
from .places import Numbered, is_pipe, is_sequence
from .stdin_reader import CHUNK_BYTES, StdinReader
from .y4m_header import HEAD_BYTES, wrong_field

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""By codec: the decoder that reads the alpha beside its frames."""


def open_input(
    path: Path,
    decoder: Decoder,
    raw: Mapping[str, str] | None = None,
    stdin: StdinReader | None = None,
) -> av.container.InputContainer:
    """Open a file, standard input (`-`) or numbered pictures (`frame_%05d.png`).

    Args:
        path: Which.
        decoder: Where it is decoded.
        raw: Of frames without a header, `video_size`, `pixel_format` and `framerate`; of numbered
            pictures `framerate`.
        stdin: Reads standard input, until it is told to end; None for one that never is.

    Raises:
        InputNotFoundError: It does not exist or is a directory.
        UnreadableVideoError: FFmpeg knows no such container.
    """
    refuse_address(path)
    if is_pipe(path):
        return _open_stdin(decoder, dict(raw or {}), stdin or StdinReader(threading.Event()))
    if raw and "video_size" in raw:
        raise ConfigError(
            "--size and --pixel-format describe raw frames on standard input (INPUT '-'), not "
            f"'{path}'; the size of the output is --output-size, --height or --scale"
        )
    if is_sequence(path):
        return _open_sequence(path, dict(raw or {}))
    if raw:
        raise ConfigError(
            f"'{path}' has times of its own: --rate is for numbered pictures and raw frames"
        )
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise InputNotFoundError(f"no file '{path}'{_why_none(path, error)}") from error
    if stat.S_ISDIR(kind):
        wrong = mistaken(path, VIDEO) or "; expected a video file"
        raise InputNotFoundError(f"'{path}' is a directory{wrong}")
    if wrong := _no_video(path):
        raise UnreadableVideoError(f"'{path}' is no video{wrong}")
    try:
        return pyav.open_input(media_url(path), hwaccel=accelerator(decoder))
    except (av.FFmpegError, UnicodeDecodeError, OSError) as error:
        raise UnreadableVideoError(
            f"'{path}' cannot be opened as video: "
            f"{wrong_field(_head_of(path)) or ffmpeg_reason(error)}; expected a "
            "video file such as mp4, mkv, mov, webm, avi or ts"
        ) from error


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _why_none(path: Path, error: OSError) -> str:
    if close := similar(path):
        return close
    if error.errno != errno.ENOENT:
        return f": {system_reason(error)}"
    folder = path.absolute().parent
    if not folder.is_dir():
        return f": the folder '{path.parent}' is not there either; check the path"
    return f" in the folder '{folder}'; check its name"


def _open_stdin(
    decoder: Decoder, raw: dict[str, str], reader: StdinReader
) -> av.container.InputContainer:
    if sys.stdin is not None and sys.stdin.isatty():
        raise InputNotFoundError(
            "'-' is the terminal, expected video from a program or file: ffmpeg -i IN -f "
            "yuv4mpegpipe - | adcvsr upscale - OUT"
        )
    what = "y4m, or another container that can be read from its beginning"
    named: dict[str, Any] = {"format": "rawvideo", "options": raw} if raw else {}
    if raw:
        what = f"raw frames of {raw['video_size']} {raw['pixel_format']}"
    try:
        return pyav.open_input(
            reader, buffer_size=CHUNK_BYTES, hwaccel=accelerator(decoder), **named
        )
    except (av.FFmpegError, UnicodeDecodeError, OSError, ValueError) as error:
        raise UnreadableVideoError(
            f"'-' gives no video: {wrong_field(reader.head) or ffmpeg_reason(error)}; expected "
            + what
            + ("" if raw else "; raw frames need --size and --pixel-format")
        ) from error


def _open_sequence(path: Path, raw: dict[str, str]) -> av.container.InputContainer:
    found = Numbered.find(path)
    options = {"start_number": str(found.first), "framerate": "25", **raw}
    try:
        return pyav.open_input(str(path), format="image2", options=options)
    except (av.FFmpegError, OSError) as error:
        raise UnreadableVideoError(
            f"'{path}' cannot be opened as pictures: {ffmpeg_reason(error)}"
        ) from error


def _no_video(path: Path) -> str:
    """What a file is that FFmpeg need not be asked about; pictures and unknown ones it is."""
    return mistaken(path, VIDEO) if what_is(path) in {"bundle", CHECKPOINT, "graph"} else ""


def choose_stream(
    path: Path,
    container: av.container.InputContainer,
    wanted: int | None,
    note: Callable[[str], None],
) -> av.VideoStream:
    """Take the stream asked for, or the lowest-index video that is not a cover picture.

    Args:
        path: Of the container, for messages.
        container: Opened.
        wanted: Index of the stream in the file; None to choose.
        note: Called with a line where others are left out.

    Raises:
        UnreadableVideoError: There is no video.
        ConfigError: There is no such stream.
    """
    streams = [s for s in container.streams.video if s.codec_context is not None]
    movies = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
    if not movies:
        kinds = ", ".join(f"{s.type} #{s.index}" for s in container.streams) or "nothing"
        raise UnreadableVideoError(f"'{path}' has no video stream; it holds: {kinds}")
    chosen = movies[0] if wanted is None else next((s for s in streams if s.index == wanted), None)
    if chosen is None:
        held = ", ".join(f"#{s.index} ({s.width}x{s.height})" for s in streams)
        raise ConfigError(f"'{path}' has no video stream #{wanted}; choose from: {held}")
    if others := [s for s in movies if s.index != chosen.index]:
        rest = ", ".join(f"#{s.index} ({s.width}x{s.height})" for s in others)
        note(f"video stream #{chosen.index} is upscaled; left out: {rest}")
    return chosen


def has_layer(stream: av.VideoStream) -> bool:
    """Whether a stream's alpha comes beside its frames, as VP8 and VP9 have it."""
    return stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"


def alpha_decoder(stream: av.VideoStream) -> Any:
    """A decoder that gives such alpha, which FFmpeg's own do not; None where none is needed."""
    name = ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if name is None or not has_layer(stream):
        return None
    try:
        decoder = av.CodecContext.create(name, "r")
    except (av.FFmpegError, ValueError):
        return None
    decoder.extradata = stream.codec_context.extradata
    decoder.thread_count = stream.codec_context.thread_count
    return decoder


def packets(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    damaged: Callable[[str], None],
) -> Iterator[av.Packet[Any]]:
    """Demux until the end, or until the container is too damaged to go on.

    Args:
        container: Opened.
        stream: Whose decoder is flushed where the container ends in damage.
        damaged: Called with the reason where it does.
    """
    demuxed = container.demux()
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            return
        except av.FFmpegError as error:
            damaged(ffmpeg_reason(error))
            # What the decoder still holds comes with a flush.
            yield _flush_packet(stream)
            return
        yield packet


def is_animated_webp(path: Path) -> bool:
    """Whether a file is a WebP with the animation flag (RFC 9649, 2.7.1)."""
    if not path.is_file():  # a pipe, or numbered pictures
        return False
    with path.open("rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def _flush_packet(stream: av.VideoStream) -> av.Packet[Any]:
    packet = av.Packet()
    packet.stream = stream
    return packet
