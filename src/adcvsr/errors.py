"""Every error a caller of adcvsr can act on: one root, one class per reason.

Messages say what happened (with the values), what was expected, and what to do. The CLI prints
them on one line and exits 1; a traceback means a bug in adcvsr, not a mistake of the caller.

    AdcVsrError
    |-- ConfigError              a network or training configuration that makes no sense
    |-- CheckpointError          a checkpoint that cannot be read or does not fit its config
    |-- BundleError              a bundle that is damaged, too new or inconsistent
    |   `-- BundleNotFoundError  no bundle of that name or at that path
    |-- GraphError               an ONNX graph that cannot be read or reasoned about
    |-- MissingPackageError      an optional package is not installed
    |-- ClipNetworkError         single frames for a network that needs the frames around them
    |-- UpscalerBusyError        a network is asked for a second stream while it is in one
    |-- OutOfResourcesError      the system gives no further thread
    |-- MissingProgramError      an external program is not there, or cannot do what is needed
    |-- BackendUnavailableError  the requested backend or variant cannot run here
    |-- EngineError              an engine cannot be built, is damaged, or fails its acceptance
    |-- InputNotFoundError       the input file is not there
    |-- UnreadableVideoError     the input cannot be decoded as video
    |-- IncompleteVideoError     the input is damaged or ends early, and was to be whole
    |-- UnsupportedVideoError    a readable video adcvsr refuses to touch (HDR)
    |-- OutputExistsError        the output is there and may not be overwritten
    |-- OutputNotWritableError   the output cannot be written
    |-- BatchError               some files of a run over many failed; the others are done
    |-- TrainingDataError        no usable training data
    |-- TrainingWorkerError      a process that prepares training data died or stands still
    |-- TrainingDivergedError    the loss is no longer finite
    |-- BenchError               results of a benchmark that cannot be read or compared
    |-- TeacherCacheError        a teacher's cached outputs do not match clips, teacher or files
    |-- CalibrationError         a calibration set that cannot be made, is damaged or does not fit
    |-- QuantizationError        a precision variant that cannot be made, or not as its recipe says
    `-- ParityError              an exported graph does not match the network
"""

from __future__ import annotations

from .redaction import without_secrets


class AdcVsrError(Exception):
    """Root of all errors adcvsr raises on purpose; its text holds no secret of an address."""

    def __str__(self) -> str:
        """Return what happened."""
        return without_secrets(super().__str__())


class ConfigError(AdcVsrError, ValueError):
    """A configuration value is out of its range or contradicts another."""


class CheckpointError(AdcVsrError, ValueError):
    """A checkpoint cannot be read, or its tensors do not fit its config."""


class BundleError(AdcVsrError, ValueError):
    """A bundle is damaged, from a newer schema, or inconsistent with itself."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """No bundle of that name is installed and no bundle lies at that path."""


class GraphError(AdcVsrError, ValueError):
    """An ONNX graph has a node or tensor that cannot be inferred; the message names it."""


class MissingPackageError(AdcVsrError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""


class ClipNetworkError(AdcVsrError, TypeError):
    """A network that is not causal was given frames one by one; it needs those around them."""


class UpscalerBusyError(AdcVsrError, RuntimeError):
    """One network carries the past of one stream; another one was asked of it meanwhile."""


class OutOfResourcesError(AdcVsrError, OSError):
    """The system gives this process no further thread."""


class MissingProgramError(AdcVsrError, OSError):
    """An external program is needed and not there, lacks a part, or failed."""


class BackendUnavailableError(AdcVsrError, RuntimeError):
    """The requested backend, variant or precision cannot run on this machine."""


class EngineError(AdcVsrError, RuntimeError):
    """An engine cannot be built from its graph, is damaged, or fails its acceptance."""


class InputNotFoundError(AdcVsrError, FileNotFoundError):
    """The input file does not exist or is not a file."""


class UnreadableVideoError(AdcVsrError, ValueError):
    """The input exists but holds no video that can be decoded."""


class IncompleteVideoError(AdcVsrError, ValueError):
    """An input that was to be whole is damaged or ends early; its output is written."""


class UnsupportedVideoError(AdcVsrError, ValueError):
    """The input is a valid video of a kind adcvsr refuses, because the result would be wrong."""


class OutputExistsError(AdcVsrError, FileExistsError):
    """The output exists and overwriting was not asked for."""


class OutputNotWritableError(AdcVsrError, OSError):
    """The output cannot be created, written or finished."""


class BatchError(AdcVsrError, RuntimeError):
    """Some files of a run over many failed, each with a line of its own; the others are done."""


class TrainingDataError(AdcVsrError, ValueError):
    """The training folders hold nothing that can be trained on."""


class TrainingWorkerError(AdcVsrError, RuntimeError):
    """A process that prepares training data died, failed or stands still."""


class TrainingProcessError(AdcVsrError, RuntimeError):
    """Another process of a run of several ended, so that this one cannot go on."""


class TrainingDivergedError(AdcVsrError, ArithmeticError):
    """The training loss became NaN or infinite; the last good checkpoint was kept."""


class TeacherCacheError(AdcVsrError, ValueError):
    """A teacher's cached outputs are missing, damaged, or of other clips or another teacher."""


class BenchError(AdcVsrError, ValueError):
    """A benchmark's result cannot be read, or two measured different things."""


class CalibrationError(AdcVsrError, ValueError):
    """A calibration set cannot be made of these clips, is damaged, or is of another network."""


class QuantizationError(AdcVsrError, RuntimeError):
    """A variant cannot be made, or less of it runs in its precision than its recipe expects."""


class ParityError(AdcVsrError, AssertionError):
    """An exported graph differs from the network by more than its threshold."""


EXTRA_OF = {
    "accelerate": "train",
    "cuda": "cuda",
    "cv2": "evaluate",
    "diffusers": "train",
    "modelopt": "quantize",
    "onnx": "export",
    "onnx_graphsurgeon": "quantize",
    "onnx_ir": "export",
    "onnxruntime": "cpu",
    "onnxscript": "export",
    "onnxslim": "quantize",
    "polygraphy": "quantize",
    "pynvml": "cuda",
    "safetensors": "export",
    "tensorboard": "train",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "rtx",
    "threadpoolctl": "export",
    "tomli": "export",
    "torch": "export",
}
"""The extra that brings each optional package, by the name it is imported under."""

TORCH_ON_CPU = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
"""PyTorch's own command for its build without several gigabytes of CUDA."""


def missing_package(package: str, extra: str, purpose: str) -> MissingPackageError:
    """Build the error for an optional package: what needs it and the command that installs it."""
    without_gpu = f" (on Linux without a GPU first: {TORCH_ON_CPU})" if package == "torch" else ""
    return MissingPackageError(
        f"{purpose} needs the package '{package}', which is not installed: "
        f"pip install 'adcvsr[{extra}]'{without_gpu}"
    )


def missing_by_name(module: str | None) -> MissingPackageError | None:
    """Build it from the module that an import did not find; None for one we do not know."""
    package = (module or "").partition(".")[0]
    extra = EXTRA_OF.get(package)
    return missing_package(package, extra, "this command") if extra else None
