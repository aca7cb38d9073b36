"""TensorRT 10.3 to 11.4 and TensorRT-RTX through one door: where they differ, and nothing else.

Every function names the version that needs it. All else of the builder's and the runtime's Python
API is the same in both modules and is called directly by `engine.build`, `trt_runner` and
`engine.census`.

    flavour = load_flavour("tensorrt-rtx")
    network = flavour.create_network(builder)
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...errors import BackendUnavailableError, ConfigError, MissingPackageError
from ...variants import sm_text
from .modules import MODULES

EXTRAS = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
"""Backend and the extra of adcvsr that installs it."""

HARDWARE_LEVELS = {"ampere+": "AMPERE_PLUS", "same-sm": "SAME_COMPUTE_CAPABILITY"}
"""What `--hardware-compatible` takes, and TensorRT's name for it."""

OLDEST = (10, 3)
"""JetPack 6's TensorRT: nothing older is supported."""

OLDEST_DLA = (11, 4, 1)
"""The first with strongly typed networks on DLA."""


@dataclass(frozen=True)
class Flavour:
    """One of the two compilers, loaded."""

    backend: str
    """`tensorrt` or `tensorrt-rtx`."""

    trt: Any
    """The module."""

    @property
    def is_rtx(self) -> bool:
        """TensorRT-RTX, whose engines are finished by the driver on the user's GPU."""
        return self.backend == "tensorrt-rtx"

    @property
    def version(self) -> str:
        """Full version, such as `10.3.0` or `1.7.1.116`."""
        return str(self.trt.__version__)

    def builder(self) -> Any:
        """Make the compiler.

        Raises:
            BackendUnavailableError: It does not start here.
        """
        return self._start(self.trt.Builder)

    def create_network(self, builder: Any) -> Any:
        """Make a strongly typed network.

        TensorRT 10 types weakly unless told; 11 and TensorRT-RTX know nothing else, and may drop
        the flag.
        """
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))

    def name_targets(self, config: Any, sms: Sequence[int]) -> None:
        """Choose the GPUs an engine is for; none means the one in this machine.

        TensorRT-RTX alone compiles for GPUs that are not there. Left to itself it builds for all
        it knows, so the GPU at hand has to be named too.

        Raises:
            BackendUnavailableError: This version does not know a compute capability.
        """
        if not self.is_rtx:
            return
        known = self.trt.ComputeCapability
        wanted = [f"SM{sm}" for sm in sms] or ["CURRENT"]
        config.num_compute_capabilities = len(wanted)
        for index, name in enumerate(wanted):
            capability = getattr(known, name, None)
            if capability is None or not config.set_compute_capability(capability, index):
                target = f"compute capability {sm_text(sms[index])}" if sms else "this GPU"
                raise BackendUnavailableError(
                    f"TensorRT-RTX {self.version} does not build for {target}"
                )

    def set_compatibility(self, config: Any, *, hardware: str | None, version: bool) -> None:
        """Trade speed for engines that outlive the GPU or the TensorRT they were built with.

        TensorRT-RTX has neither: several compute capabilities in one engine take their place.
        `SAME_COMPUTE_CAPABILITY` came during TensorRT 10.

        Raises:
            BackendUnavailableError: This version cannot.
        """
        trt = self.trt
        if hardware:
            name = HARDWARE_LEVELS[hardware]
            level = getattr(trt.HardwareCompatibilityLevel, name, None)
            if level is None:
                raise BackendUnavailableError(
                    f"TensorRT {self.version} has no hardware compatibility '{hardware}'"
                )
            config.hardware_compatibility_level = level
        if version:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)

    def require_dla(self) -> None:
        """Check that this compiler builds strongly typed networks for DLA.

        TensorRT 10 took DLA's precision from builder flags; 11.0 to 11.4.0 had no DLA on Jetson.

        Raises:
            BackendUnavailableError: It does not.
        """
        if self.is_rtx:
            raise BackendUnavailableError("TensorRT-RTX has no DLA; take --backend tensorrt")
        if _release(self.version, 3) < OLDEST_DLA:
            raise BackendUnavailableError(
                f"TensorRT {self.version} does not build strongly typed networks for DLA; that "
                "came with 11.4.1 (JetPack 7.2.2, AGX Orin); leave out --dla"
            )

    def use_dla(self, builder: Any, config: Any, core: int, *, fallback: bool) -> None:
        """Let a network run on a DLA core.

        Raises:
            BackendUnavailableError: There is no such core.
        """
        count = builder.num_DLA_cores
        if not 0 <= core < count:
            raise BackendUnavailableError(
                f"no DLA core {core}: TensorRT {self.version} sees {count} here; 'adcvsr doctor' "
                "says what the board has"
            )
        config.default_device_type = self.trt.DeviceType.DLA
        config.DLA_core = core
        if fallback:
            config.set_flag(self.trt.BuilderFlag.GPU_FALLBACK)

    def runtime(self, *, version_compatible: bool, dla: int | None = None) -> Any:
        """Make the runtime that loads engines.

        A version-compatible engine of TensorRT carries code of its own, which it runs only when
        told so; the cache has compared its hash by then.

        Raises:
            BackendUnavailableError: It does not start here.
        """
        runtime = self._start(self.trt.Runtime)
        if version_compatible:
            runtime.engine_host_code_allowed = True
        if dla is not None:
            runtime.DLA_core = dla
        return runtime

    def _start(self, kind: Any) -> Any:
        """Make a builder or runtime; without driver or GPU the library logs why and gives none."""
        log = error_log(self.trt)
        log.take()
        try:
            return kind(log.logger)
        except TypeError as error:  # the binding's, about the nothing it was given
            said = (log.take() or [str(error)])[0]
            raise BackendUnavailableError(
                f"{self.backend} {self.version} does not start: {said}; run 'adcvsr doctor'"
            ) from error

    def runtime_config(self, engine: Any) -> Any | None:
        """Make the settings of an execution context; TensorRT takes none.

        TensorRT-RTX compiles kernels for the shapes at hand, by default beside the stream while
        slower ones run. Captured CUDA graphs do not survive the change, so here the first run
        waits for them.
        """
        if not self.is_rtx:
            return None
        config = engine.create_runtime_config()
        strategies = self.trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        return config

    def can_capture(self, context: Any, stream: int) -> bool:
        """Whether runs can be captured; TensorRT-RTX allocates while it runs very large tensors."""
        return not self.is_rtx or bool(context.is_stream_capturable(stream))


def load_flavour(backend: str) -> Flavour:
    """Import the compiler behind a backend.

    Raises:
        ConfigError: No such backend.
        MissingPackageError: It is not installed; the message has the command.
        BackendUnavailableError: It is too old, or does not load.
    """
    if backend not in MODULES:
        raise ConfigError(f"no engine backend '{backend}'; choose from: {', '.join(MODULES)}")
    try:
        module = importlib.import_module(MODULES[backend])
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the backend '{backend}' needs the package '{MODULES[backend]}', which is not "
            f"installed: pip install 'adcvsr[{EXTRAS[backend]}]' (on a Jetson TensorRT comes with "
            "JetPack: docs/jetson.md)"
        ) from error
    except Exception as error:  # missing libraries raise OSError, RuntimeError, ImportError
        raise BackendUnavailableError(
            f"the package '{MODULES[backend]}' is there and does not load: {error}; "
            "run 'adcvsr doctor'"
        ) from error
    flavour = Flavour(backend, module)
    if not flavour.is_rtx and _release(flavour.version) < OLDEST:
        raise BackendUnavailableError(
            f"TensorRT {flavour.version} is too old; expected {OLDEST[0]}.{OLDEST[1]} or newer"
        )
    return flavour


def _release(version: str, parts: int = 2) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:parts])


class ErrorLog:
    """What a compiler complained of, for error messages, and the layers it lists.

    One for the process, see `error_log`.

    Args:
        trt: The module.
    """

    NOISE = ("Thread context has not been set", "checkMacros.cpp::catchCudaError", "is unsupported")
    """Said by TensorRT-RTX 1.7 on machines without a GPU, whether or not something is wrong: told
    only where nothing else was said."""

    MOST = 100

    LAYERS = "Layers:\n"
    """How the message begins in which TensorRT-RTX lists the layers it has compiled."""

    def __init__(self, trt: Any) -> None:
        self._errors: deque[str] = deque(maxlen=self.MOST)
        self._layers: deque[str] = deque(maxlen=1)
        errors, layers, begins = self._errors, self._layers, self.LAYERS

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                # Severities count from 0, the worst.
                if int(severity) <= int(trt.ILogger.ERROR):
                    errors.append(message)
                elif message.startswith(begins):
                    layers.append(message)

        self.logger = Logger()
        """What builders and runtimes take."""

    def take(self) -> list[str]:
        """Errors since the last call, oldest first; of other threads too."""
        said = [self._errors.popleft() for _ in range(len(self._errors))]
        return [each for each in said if not any(part in each for part in self.NOISE)] or said

    def take_layers(self) -> str:
        """The latest list of layers since the last call; empty where none was printed."""
        return self._layers.pop() if self._layers else ""


@cache
def error_log(trt: Any) -> ErrorLog:
    """The log of a module, never freed.

    TensorRT holds one logger for all builders and runtimes of a process, the first that came: a
    later one hears nothing, and the first one is called although its owner is closed.
    """
    return ErrorLog(trt)
