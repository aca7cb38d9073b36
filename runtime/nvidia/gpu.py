"""The GPU engines are built for and run on, as the CUDA driver describes it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ...errors import BackendUnavailableError, MissingPackageError

DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")
"""What NVIDIA's driver leaves in /dev: desktop and server, Jetson, Windows' Linux."""

_SM_MAJOR, _SM_MINOR, _INTEGRATED = (
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR",
    "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR",
    "CU_DEVICE_ATTRIBUTE_INTEGRATED",
)


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    name: str
    """As the driver calls it."""

    sm: int
    """Compute capability times ten."""

    integrated: bool
    """It shares its memory with the CPU, as on a Jetson."""

    cuda: str
    """CUDA version of the driver, such as `12.6`."""


def load_driver() -> Any:
    """Import cuda-python's driver module and start CUDA.

    Raises:
        MissingPackageError: The package is not installed.
        BackendUnavailableError: No driver, or no GPU.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        no_driver = "" if looks_like_gpu() else ", and an NVIDIA driver, which was not found here"
        raise MissingPackageError(
            "running on an NVIDIA GPU needs the package 'cuda-bindings', which is not installed"
            f"{no_driver}: pip install 'adcvsr[tensorrt]' (or [rtx], [cuda]) on the machine with "
            "the GPU; 'adcvsr doctor' shows what a machine has"
        ) from error
    try:
        (code,) = driver.cuInit(0)
    except Exception as error:  # the bindings raise their own untyped errors without a library
        raise _no_gpu(f"{error}".partition("\n")[0].rstrip(".")) from error
    if int(code):
        raise _no_gpu(f"cuInit answered {getattr(code, 'name', code)}")
    return driver


def current_gpu(driver: Any = None) -> Gpu:
    """Describe the first GPU CUDA shows (CUDA_VISIBLE_DEVICES chooses).

    Raises:
        MissingPackageError, BackendUnavailableError: See `load_driver`.
    """
    driver = driver or load_driver()
    device = checked(driver.cuDeviceGet(0))
    attribute = driver.CUdevice_attribute

    def value(name: str) -> int:
        return int(checked(driver.cuDeviceGetAttribute(getattr(attribute, name), device)))

    name = bytes(checked(driver.cuDeviceGetName(100, device))).split(b"\0")[0].decode()
    version = int(checked(driver.cuDriverGetVersion()))
    return Gpu(
        name=name,
        sm=value(_SM_MAJOR) * 10 + value(_SM_MINOR),
        integrated=bool(value(_INTEGRATED)),
        cuda=f"{version // 1000}.{version % 1000 // 10}",
    )


def looks_like_gpu() -> bool:
    """Whether an NVIDIA driver seems to be here; needs no package and starts nothing."""
    return any(os.path.exists(path) for path in DEVICE_FILES)


def checked(answer: tuple[Any, ...]) -> Any:
    """Unpack what a driver call answers.

    Raises:
        BackendUnavailableError: The call failed.
    """
    code, *values = answer
    if int(code):
        name = getattr(code, "name", str(code))
        hint = " (lower the size, or close what else uses the GPU)" if "MEMORY" in name else ""
        raise BackendUnavailableError(f"CUDA answered {name}{hint}")
    return values[0] if len(values) == 1 else tuple(values)


def _no_gpu(reason: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"no usable NVIDIA GPU here: {reason}; run 'adcvsr doctor' for what is missing"
    )
