"""Say which extra is missing before a command imports what needs it."""

from __future__ import annotations

import importlib.util

from ..errors import missing_package

EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors")
QUANTIZE_PACKAGES = ("modelopt", "onnx_graphsurgeon", "onnxslim", "polygraphy")
WEIGHT_PACKAGES = ("torch", "safetensors")
TRAIN_PACKAGES = ("torch", "accelerate", "safetensors")


def require_export(command: str = "export") -> None:
    """Check the packages of the extra `export`.

    Args:
        command: The command that was typed, for the error.

    Raises:
        MissingPackageError: One is not installed.
    """
    _require(EXPORT_PACKAGES, "export", f"'adcvsr {command}'")


def require_quantize() -> None:
    """Check the packages of the extra `quantize`.

    Raises:
        MissingPackageError: One is not installed.
    """
    _require(QUANTIZE_PACKAGES, "quantize", "'adcvsr export --fp16'")


def require_int8() -> None:
    """Check the packages that every quantization needs; ModelOpt is checked where it is used.

    Raises:
        MissingPackageError: One is not installed.
    """
    _require(("onnx", "onnxruntime"), "export", "'adcvsr quantize'")


def require_train(command: str = "train") -> None:
    """Check the packages of the extra `train`.

    Args:
        command: The command that was typed, for the error.

    Raises:
        MissingPackageError: One is not installed.
    """
    _require(TRAIN_PACKAGES, "train", f"'adcvsr {command}'")


def require_weights() -> None:
    """Check the packages that reading and writing weights needs.

    Raises:
        MissingPackageError: One is not installed.
    """
    _require(WEIGHT_PACKAGES, "export", "'adcvsr import'")


def require_measures() -> None:
    """Check the package that measures by trained networks compute with.

    Raises:
        MissingPackageError: It is not installed.
    """
    _require(("torch",), "train", "a measure by a trained network")


def require_degradations() -> None:
    """Check the package that the degradations of training compute with.

    Raises:
        MissingPackageError: It is not installed.
    """
    _require(("torch",), "train", "a degradation other than bicubic")


def _require(packages: tuple[str, ...], extra: str, purpose: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise missing_package(package, extra, purpose)
