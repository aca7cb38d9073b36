"""Teachers: what a student is to become like, behind one contract.

    with StudentTeacher(Path("small.safetensors"), "cpu", "float32") as teacher:
        target = teacher.teach(low)  # (N, T, 3, h, w) -> (N, T, 3, 4h, 4w), both in [0, 1]

DOVE lies in `dove`, upscalers in ncnn's format in `ncnn`, outputs computed earlier in `cached`;
`open_teacher` chooses among them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import SCALE
from ...errors import ConfigError
from ...files import add_to_hash
from ...model import load_checkpoint

TeacherKind = Literal["dove", "student", "ncnn", "cache", "truth"]
Precision = Literal["float32", "bfloat16", "float16"]

KEY_CHARACTERS = 16
"""Of the SHA-256 that names a clip or a set of weights."""


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Which teacher, and what decides its outputs."""

    kind: TeacherKind
    """`dove`; `student`, a larger checkpoint of ours; `ncnn`, an upscaler such as Real-ESRGAN;
    `cache`, outputs written before; `truth`."""

    weights: str = ""
    """`dove`: a local folder or a hub id; `student`: a checkpoint; `ncnn`: a model's name or file;
    `cache`: its folder."""

    revision: str = ""
    """Commit of a hub id, all 40 hexadecimal digits: a branch or tag can change its weights."""

    prompt_embedding: str = ""
    """`dove`: file of the empty prompt; empty looks where DOVE's repository keeps it."""

    dtype: Precision | Literal[""] = ""
    """Precision of the weights and the computation; empty for the kind's own (`dove` bfloat16 as
    published, `student` float32)."""

    seed: int = 0
    """`dove`: with the clip decides the noise of the VAE's posterior sample."""

    tiling: bool = False
    """`dove`: encode and decode in tiles, for large frames; blends their seams."""

    offload: bool = False
    """`dove`: keep weights in main memory and bring each layer over as it runs: slow, small."""

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            ConfigError: An unknown kind or precision, or weights that are missing or not wanted.
        """
        if self.kind not in get_args(TeacherKind):
            known = ", ".join(get_args(TeacherKind))
            raise ConfigError(f"teacher kind '{self.kind}', expected one of: {known}")
        if self.dtype and self.dtype not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ConfigError(f"teacher dtype '{self.dtype}', expected one of: {known}")
        if (self.kind == "truth") == bool(self.weights):
            wanted = "has no weights" if self.kind == "truth" else "needs weights"
            raise ConfigError(f"teacher '{self.kind}' {wanted}, weights='{self.weights}'")


class Teacher(ABC):
    """Upscales low-resolution clips without gradient. A context manager: it holds memory within.

    Args:
        device: Where to run; clips are moved there, outputs back to where their clips were.

    Raises:
        ConfigError: There is no such device.
    """

    identity: str
    """Kind, weights and settings, all that decides the outputs; `kind:name=value,...`."""

    licences: tuple[str, ...] = ()
    """Of the weights, where they are known: they pass on to every student taught by them."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = _check_device(device)
        self._open = False

    def __enter__(self) -> Teacher:
        """Load the weights.

        Raises:
            CheckpointError: They are damaged.
            MemoryError: They do not fit the device.
        """
        try:
            self._load()
        except torch.OutOfMemoryError as error:
            raise MemoryError(f"the weights of {self.identity} do not fit {self.device}") from error
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the memory back."""
        self._open = False
        self._unload()

    @torch.no_grad()
    def teach(self, low: Tensor, high: Tensor | None = None) -> Tensor:
        """Upscale clips.

        Args:
            low: (N, T, 3, h, w) float in [0, 1].
            high: The truth, (N, T, 3, 4h, 4w) in [0, 1]; only `GroundTruth` looks at it.

        Returns:
            (N, T, 3, 4h, 4w) float32 in [0, 1] on the device of `low`, without gradient.

        Raises:
            ConfigError: `low` has another shape or kind.
            MemoryError: The clips are too large for the device.
            RuntimeError: Outside the `with` block.
        """
        if not self._open:
            raise RuntimeError(f"{type(self).__name__} is not active; use it in a 'with' block")
        if low.ndim != 5 or low.shape[2] != 3 or not low.is_floating_point():
            raise ConfigError(
                f"a teacher was given {list(low.shape)} of {low.dtype}, expected "
                "(N, T, 3, h, w) floats in [0, 1]"
            )
        try:
            out = self._teach(low.to(self.device, torch.float32), high)
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"{self.device} ran out of memory on clips of {list(low.shape)}; use smaller or "
                "shorter clips, for 'dove' also tiling or offload"
            ) from error
        n, frames, _, height, width = low.shape
        assert out.shape == (n, frames, 3, SCALE * height, SCALE * width)
        return out.to(low.device, torch.float32).clamp(0, 1)

    def _load(self) -> None:  # noqa: B027  # not abstract: some have no weights
        """Bring the weights into memory; called on entering."""

    def _unload(self) -> None:  # noqa: B027
        """Drop them; called on leaving."""

    @abstractmethod
    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        """Do `teach` on float32 clips that are on the device."""


class GroundTruth(Teacher):
    """The truth itself, for training without a teacher (arXiv 2603.00458, table 4)."""

    identity = "truth"

    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        if high is None:
            raise ConfigError("the teacher 'truth' needs the high-resolution clips")
        return high


class StudentTeacher(Teacher):
    """A larger student: any checkpoint of ours, causal or not.

    Args:
        checkpoint: Written by `adcvsr train` or `adcvsr import`.
        device: Where to run.
        dtype: Other than float32 runs under autocast, which keeps norms and softmax in float32.
    """

    def __init__(
        self, checkpoint: Path, device: torch.device | str = "cpu", dtype: Precision = "float32"
    ) -> None:
        super().__init__(device)
        self.dtype = getattr(torch, dtype)
        self._network, provenance = load_checkpoint(checkpoint)
        self.licences = tuple(provenance.get("licences", ()))
        name, weights = self._network.config.name, hash_files([checkpoint])
        self.identity = f"student:name={name},weights={weights},dtype={dtype}"

    def _load(self) -> None:
        self._network.to(self.device)

    def _unload(self) -> None:
        self._network.to("cpu")

    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        network = self._network
        height, width = low.shape[-2:]
        padded = pad_edges(low, network.config.size_multiple) * 2 - 1
        mixed = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=mixed):
            out, _ = network(padded)
        cut: Tensor = out[..., : SCALE * height, : SCALE * width].float()
        return (cut + 1) / 2


def _check_device(name: torch.device | str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"no device '{name}'; expected cpu, cuda or cuda:1") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"no device '{name}': this torch {torch.__version__} sees no CUDA GPU")
    return device


def pad_edges(clips: Tensor, multiple: int) -> Tensor:
    """Pad (N, T, 3, h, w) at the right and the bottom to multiples by repeating the last pixels."""
    height, width = clips.shape[-2:]
    pad = (0, -width % multiple, 0, -height % multiple, 0, 0)
    return F.pad(clips, pad, mode="replicate")


def clip_key(low: npt.NDArray[Any]) -> str:
    """Name a low-resolution clip by its content.

    Args:
        low: (T, 3, h, w) uint8.

    Returns:
        16 hexadecimal digits, the start of its SHA-256.
    """
    return hashlib.sha256(low.tobytes()).hexdigest()[:KEY_CHARACTERS]


def hash_files(paths: Iterable[Path]) -> str:
    """Name files by their content: 16 hexadecimal digits of the SHA-256 of all, in order.

    Raises:
        OSError: One cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        add_to_hash(digest, path)
    return digest.hexdigest()[:KEY_CHARACTERS]
