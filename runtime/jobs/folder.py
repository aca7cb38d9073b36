"""The job folder: the contract between whoever plans, works, looks and joins.

    plan.json              what is to be made; never changed
    segments/00012.mp4     a finished segment's pictures; appears whole, on the disk, or not at all
    segments/00012.json    its hash and how it was made; written after it
    leases/00012.json      who is making it
    probe.npz              pictures of the first worker, which every other one must make too
    certificate.json       of the join: what was made where, with every hash

A segment that was made twice is the same twice, so nothing is lost where two processes meet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import AdcVsrError, JobError, OutputNotWritableError
from ...files import file_sha256, json_bytes, replace_file
from ...leftovers import publish
from ...reading import Item, read_json
from .lease import Lease, LeaseWatch
from .plan import JobPlan, read_plan, texts

PLAN, CERTIFICATE, PROBE = "plan.json", "certificate.json", "probe.npz"
SEGMENTS, LEASES = "segments", "leases"

REMAKE = "remove it, and the segment is made again"


@dataclass(frozen=True)
class SegmentResult:
    """What is known of a finished segment."""

    index: int
    frames: int
    size_bytes: int
    sha256: str
    """Of its file."""
    pictures: str
    """CRC-32 over the bytes of all its pictures, as the network gave them."""
    reorder: int
    """Frames by which the encoder's order runs ahead of the shown one, at most."""
    scene_cuts: int | None
    """Cuts at which the network began anew; None where it was not to."""
    seconds: float
    """Wall seconds for which it had the network: it is encoded to its end beside the next one."""
    stages: dict[str, float]
    """Wall seconds of decode, infer and encode."""
    facts: dict[str, Any]
    """Tiles and colour match, as in reports."""
    notes: tuple[str, ...]
    worker: dict[str, str]
    """Host, process, processor, versions."""

    def to_bytes(self) -> bytes:
        """The file."""
        return json_bytes(asdict(self))


class Job:
    """An opened job folder.

    Args:
        folder: The folder.

    Raises:
        JobError: It holds no job, or its plan is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            data = (folder / PLAN).read_bytes()
        except OSError as error:
            raise JobError(
                f"'{folder}' holds no job: {PLAN}: {error.strerror}; 'adcvsr job plan' makes one"
            ) from error
        self.plan: JobPlan = read_plan(data, f"'{folder / PLAN}'")
        self.watch = LeaseWatch()

    @classmethod
    def create(cls, folder: Path, plan: JobPlan) -> Job:
        """Make a job folder.

        Raises:
            JobError: Another job is in it by now.
            OutputNotWritableError: It cannot be written.
        """
        cls.check_place(folder)
        folders = (folder, folder / SEGMENTS, folder / LEASES)
        new = [each for each in folders if not each.exists()]
        ready = folder / f"{PLAN}.new-{os.getpid()}"
        try:
            for each in folders:
                each.mkdir(parents=True, exist_ok=True)
            replace_file(ready, lambda part: part.write_bytes(plan.to_bytes()))
            publish(ready, folder / PLAN)
        except FileExistsError as error:
            if not cls.is_in(folder):
                raise OutputNotWritableError(f"cannot make '{folder}': {error.strerror}") from error
            raise JobError(f"'{folder}' holds a job already; --resume continues it") from None
        except OSError as error:
            for each in reversed(new):
                with suppress(OSError):
                    each.rmdir()
            if isinstance(error, AdcVsrError):
                raise
            raise OutputNotWritableError(f"cannot make '{folder}': {error.strerror}") from error
        finally:
            with suppress(OSError):
                ready.unlink(missing_ok=True)
        return cls(folder)

    @staticmethod
    def check_place(folder: Path) -> None:
        """Refuse a place where no job can be made, before planning, which reads all of the input.

        Raises:
            JobError: There is a job, or something else than a folder.
            OutputNotWritableError: Nothing can be written there.
        """
        if Job.is_in(folder):
            raise JobError(
                f"'{folder}' holds a job already: go on with it ('upscale --resume', 'job work'), "
                "or remove the folder to begin again"
            )
        places = (folder.absolute(), *folder.absolute().parents)
        there = next(each for each in places if os.path.lexists(each))
        if not there.is_dir():
            raise JobError(f"'{there}' is no folder; a job is made in one: choose another name")
        if not os.access(there, os.W_OK | os.X_OK):
            raise OutputNotWritableError(
                f"'{there}' is not writable: the job '{folder}' needs a folder on a disk that all "
                "its workers can write"
            )

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder holds a job."""
        return (folder / PLAN).is_file()

    def require_there(self) -> None:
        """Refuse to go on where the folder was removed meanwhile.

        Raises:
            JobError: It was.
        """
        if not self.is_in(self.folder):
            raise JobError(
                f"'{self.folder}' is gone: another run finished the job, or somebody removed it"
            )

    def remove(self) -> None:
        """Remove the folder, its plan first: whoever misses a segment sees why."""
        (self.folder / PLAN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def plan_sha256(self) -> str:
        """Of the plan."""
        return self.plan.sha256

    def video_of(self, index: int) -> Path:
        """A segment's file."""
        return self.folder / SEGMENTS / f"{index:05d}.mp4"

    def facts_of(self, index: int) -> Path:
        """What is known of it."""
        return self.folder / SEGMENTS / f"{index:05d}.json"

    def lease(self, index: int) -> Lease:
        """Who makes a segment."""
        return Lease(self.folder / LEASES / f"{index:05d}.json", self.watch)

    def is_done(self, index: int) -> bool:
        """Whether a segment is finished; its bytes are not read."""
        try:
            return self.result(index) is not None
        except JobError:
            return False

    def result(self, index: int) -> SegmentResult | None:
        """What is known of a finished segment; None where it is not finished.

        Raises:
            JobError: Its file has another size than it was written with, or what is known of it is
                damaged or of another plan.
        """
        facts, video = self.facts_of(index), self.video_of(index)
        if not facts.is_file():
            return None
        found = _read_result(facts)
        size = video.stat().st_size if video.is_file() else -1
        if size < 0:
            raise JobError(f"'{video}' is missing: segment {index} must be made again")
        if size != found.size_bytes:
            raise JobError(
                f"'{video}' has {size} bytes, was written with {found.size_bytes}: {REMAKE}"
            )
        planned = self.plan.segments[index]
        if (found.index, found.frames) != (index, planned.frames):
            raise JobError(
                f"'{facts}' is of segment {found.index} with {found.frames} frames; the plan has "
                f"{planned.frames} in segment {index}: {REMAKE}"
            )
        return found

    def verified(self, index: int) -> SegmentResult | None:
        """Likewise, with every byte of its file read.

        Raises:
            JobError: Also where bytes are others than were written.
        """
        found = self.result(index)
        if found is not None and file_sha256(self.video_of(index)) != found.sha256:
            raise JobError(
                f"'{self.video_of(index)}' is damaged: its bytes are not those that were written "
                f"(sha256); {REMAKE}"
            )
        return found

    def store(self, result: SegmentResult) -> None:
        """Say that a segment is finished; its file is in its place and on the disk.

        Raises:
            OutputNotWritableError: The disk is full or gone.
        """
        replace_file(self.facts_of(result.index), lambda part: part.write_bytes(result.to_bytes()))

    def discard_damaged(self) -> Iterator[str]:
        """Forget finished segments whose bytes are damaged, so that they are made again.

        Yields:
            A line for each.
        """
        for segment in self.plan.segments:
            try:
                self.verified(segment.index)
            except JobError as error:
                self.facts_of(segment.index).unlink(missing_ok=True)
                self.video_of(segment.index).unlink(missing_ok=True)
                yield f"segment {segment.index} is made again: {error}"

    def open_segments(self) -> list[int]:
        """Segments that are not finished."""
        return [each.index for each in self.plan.segments if not self.is_done(each.index)]


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk.

    Raises:
        OSError: The disk is full or gone.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk, where the system can."""
    if os.name != "posix":
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        pass  # some network file systems have no such thing
    finally:
        os.close(number)


def _read_result(path: Path) -> SegmentResult:
    found = read_json(path, error=JobError, advice=REMAKE)
    cuts = found.get("scene_cuts")
    return SegmentResult(
        index=found["index"].integer(0),
        frames=found["frames"].integer(1),
        size_bytes=found["size_bytes"].integer(1),
        sha256=found["sha256"].text(),
        pictures=found["pictures"].text(),
        reorder=found["reorder"].integer(0, 64),
        scene_cuts=None if cuts is None else cuts.integer(0),
        seconds=found["seconds"].number(0),
        stages=_numbers(found["stages"]),
        facts=found["facts"].mapping(),
        notes=tuple(each.any_text() for each in found["notes"].items()),
        worker=texts(found["worker"]),
    )


def _numbers(found: Item) -> dict[str, float]:
    return {key: value.number(0) for key, value in found.fields()}
