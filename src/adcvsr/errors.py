"""Every error a caller of adcvsr can act on: one root, a layer to catch by, one class a reason.

Messages say what happened (with the values), what was expected, and what to do. The CLI prints
them on one line and exits 1; a traceback means a bug in adcvsr, not a mistake of the caller.

    AdcVsrError
    |-- SettingsError                what was asked for makes no sense, or not here and now
    |   |-- ConfigError              a network, an option or a recipe that makes no sense
    |   |-- ClipNetworkError         single frames for a network that needs the frames around them
    |   `-- UpscalerBusyError        a network is asked for a second stream while it is in one
    |-- InputError                   the video, picture or stream that comes in
    |   |-- InputNotFoundError       the input file is not there
    |   |-- UnreadableVideoError     the input cannot be decoded as video
    |   |-- IncompleteVideoError     the input is damaged or ends early, and was to be whole
    |   `-- UnsupportedVideoError    a readable video adcvsr refuses to touch (HDR)
    |-- OutputError                  what is to be written
    |   |-- OutputExistsError        the output is there and may not be overwritten
    |   |-- OutputNotWritableError   the output cannot be written
    |   `-- StdoutClosedError        whoever read standard output closed it
    |-- BundleError                  a bundle that is damaged, too new or inconsistent
    |   `-- BundleNotFoundError      no bundle of that name or at that path
    |-- BackendError                 what runs a network: package, program, device, engine
    |   |-- BackendUnavailableError  the requested backend or variant cannot run here
    |   |-- EngineError              an engine cannot be built, is damaged, or fails its acceptance
    |   |-- MissingPackageError      an optional package is not installed
    |   |-- MissingProgramError      an external program is not there, or cannot do what is needed
    |   `-- OutOfResourcesError      the system gives no further thread
    |-- TrainingError                training and what it reads
    |   |-- TrainingDataError        no usable training data
    |   |-- TrainingWorkerError      a process that prepares training data died or stands still
    |   |-- TrainingProcessError     another process of a run of several ended
    |   |-- TrainingDivergedError    the loss is no longer finite
    |   `-- TeacherCacheError        a teacher's outputs do not match clips, teacher or files
    |-- CheckpointError              a checkpoint that cannot be read or does not fit its config
    |-- GraphError                   an ONNX graph that cannot be read or reasoned about
    |-- AdoptError                   a network of others that cannot be made a bundle
    |-- CalibrationError             a calibration set that cannot be made, or does not fit
    |-- QuantizationError            a variant that cannot be made, or not as its recipe says
    |-- ParityError                  an exported graph does not match the network
    |-- BenchError                   results of a benchmark that cannot be read or compared
    |-- JobError                     a job that cannot be planned, gone on with or joined as it is
    `-- BatchError                   some files of a run over many failed; the others are done
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from .redaction import without_secrets


class AdcVsrError(Exception):
    """Root of all errors adcvsr raises on purpose; its text holds no secret of an address."""

    def __str__(self) -> str:
        """Return what happened."""
        return without_secrets(super().__str__())


class SettingsError(AdcVsrError):
    """What was asked for makes no sense, or not of this network at this moment."""


class InputError(AdcVsrError):
    """The video, picture or stream that comes in: absent, unreadable, damaged or refused."""


class OutputError(AdcVsrError):
    """What is to be written: in the way, or not writable."""


class BackendError(AdcVsrError):
    """What runs a network is not here or fails: a package, a program, a device, an engine."""


class TrainingError(AdcVsrError):
    """Training, and what it reads."""


class ConfigError(SettingsError, ValueError):
    """A configuration value is out of its range or contradicts another."""


class CheckpointError(AdcVsrError, ValueError):
    """A checkpoint cannot be read, or its tensors do not fit its config."""


class BundleError(AdcVsrError, ValueError):
    """A bundle is damaged, from a newer schema, or inconsistent with itself."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """No bundle of that name is installed and no bundle lies at that path."""


class GraphError(AdcVsrError, ValueError):
    """An ONNX graph has a node or tensor that cannot be inferred; the message names it."""


class MissingPackageError(BackendError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""


class ClipNetworkError(SettingsError, TypeError):
    """A network that is not causal was given frames one by one; it needs those around them."""


class UpscalerBusyError(SettingsError, RuntimeError):
    """One network carries the past of one stream; another one was asked of it meanwhile."""


class OutOfResourcesError(BackendError, OSError):
    """The system gives this process no further thread."""


class MissingProgramError(BackendError, OSError):
    """An external program is needed and not there, lacks a part, or failed."""


class BackendUnavailableError(BackendError, RuntimeError):
    """The requested backend, variant or precision cannot run on this machine."""


class EngineError(BackendError, RuntimeError):
    """An engine cannot be built from its graph, is damaged, or fails its acceptance."""


class AdoptError(AdcVsrError, ValueError):
    """A network of others cannot be made a bundle; the message names the node in the way."""


class InputNotFoundError(InputError, FileNotFoundError):
    """The input file does not exist or is not a file."""


class UnreadableVideoError(InputError, ValueError):
    """The input exists but holds no video that can be decoded."""


class IncompleteVideoError(InputError, ValueError):
    """An input that was to be whole is damaged or ends early; its output is written."""


class UnsupportedVideoError(InputError, ValueError):
    """The input is a valid video of a kind adcvsr refuses, because the result would be wrong."""


class OutputExistsError(OutputError, FileExistsError):
    """The output exists and overwriting was not asked for."""


class OutputNotWritableError(OutputError, OSError):
    """The output cannot be created, written or finished."""


class StdoutClosedError(OutputError, BrokenPipeError):
    """Whoever read the frames on standard output closed it: no fault, and nothing to say."""


class BatchError(AdcVsrError, RuntimeError):
    """Some files of a run over many failed, each with a line of its own; the others are done."""


class JobError(AdcVsrError, RuntimeError):
    """A job cannot be planned, is of other settings than asked for, or lacks segments."""


class TrainingDataError(TrainingError, ValueError):
    """The training folders hold nothing that can be trained on."""


class TrainingWorkerError(TrainingError, RuntimeError):
    """A process that prepares training data died, failed or stands still."""


class TrainingProcessError(TrainingError, RuntimeError):
    """Another process of a run of several ended, so that this one cannot go on."""


class TrainingDivergedError(TrainingError, ArithmeticError):
    """The training loss became NaN or infinite; the last good checkpoint was kept."""


class TeacherCacheError(TrainingError, ValueError):
    """A teacher's cached outputs are missing, damaged, or of other clips or another teacher."""


class BenchError(AdcVsrError, ValueError):
    """A benchmark's result cannot be read, or two measured different things."""


class CalibrationError(AdcVsrError, ValueError):
    """A calibration set cannot be made of these clips, is damaged, or is of another network."""


class QuantizationError(AdcVsrError, RuntimeError):
    """A variant cannot be made, or less of it runs in its precision than its recipe expects."""


class ParityError(AdcVsrError, AssertionError):
    """An exported graph differs from the network by more than its threshold."""


class WrongColoursError(ParityError):
    """A variant gives other colours than the FP32 one, by more than its limits."""


class FlickerError(ParityError):
    """A variant flickers where nothing moves, more than its gate allows."""


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
WITH_TORCH = frozenset({"dove", "export", "quantize", "spandrel", "teacher", "train"})
"""Extras that bring torch: gigabytes of CUDA on Linux, unless the CPU's build is there before."""
"""PyTorch's own command for its build without several gigabytes of CUDA."""


BASE = ("av", "click", "filelock", "numpy", "rich")
"""What every installation has, by the names they are imported under."""


def missing_package(package: str, extra: str, purpose: str) -> MissingPackageError:
    """Build the error for an optional package: what needs it and the command that installs it.

    Within `except ImportError` it tells a package that is there, and cannot be imported, from one
    that is not: a library of the system may be missing, or it may be built for another numpy.
    """
    error = sys.exc_info()[1]
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return MissingPackageError(
            f"{purpose} needs the package '{package}', which is installed but cannot be imported "
            f"({reason}): install what is named there, or the package again: "
            f"pip install --force-reinstall {package}"
        )
    brings_torch = package == "torch" or (extra in WITH_TORCH and not find_spec("torch"))
    without_gpu = f" (on Linux without a GPU first: {TORCH_ON_CPU})" if brings_torch else ""
    return MissingPackageError(
        f"{purpose} needs the package '{package}', which is not installed: "
        f"pip install 'adcvsr[{extra}]'{without_gpu}"
    )


def missing_by_name(module: str | None) -> MissingPackageError | None:
    """Build it from the module that an import did not find; None for one we do not know."""
    package = (module or "").partition(".")[0]
    if package in BASE:
        return missing_package(package, "cpu", "adcvsr")
    extra = EXTRA_OF.get(package)
    return missing_package(package, extra, "this command") if extra else None
