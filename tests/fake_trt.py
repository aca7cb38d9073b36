"""TensorRT as builder and sessions see it; engines compute with ONNX Runtime on the fake GPU.

It holds the rules whose breach crashes or corrupts on a real GPU: every tensor has an address,
aligned, alive and large enough; shapes lie in the profile and are set before a run; the first run
after a change of shape is not captured; nothing is used after what it stems from is gone, nor
destroyed while it is in use; one logger serves all builders and runtimes, and outlives them.
"""

from __future__ import annotations

import base64
import json
import re
import types
import weakref
from enum import IntEnum
from typing import Any

import numpy as np
import pytest

from adcvsr.calibration.sets.parallel import open_graph
from fake_cuda import FakeDriver, Stream


class _Bits(IntEnum):
    STRONGLY_TYPED = 0


class BuilderFlag(IntEnum):
    GPU_FALLBACK = 3
    TF32 = 6
    VERSION_COMPATIBLE = 13


class TensorFormat(IntEnum):
    LINEAR = 0
    HWC8 = 2


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Registered:
    """The process's logger: the first that came, until no builder and no runtime is left."""

    users = 0
    logger: weakref.ref[ILogger] | None = None

    @classmethod
    def add(cls, user: Any, logger: ILogger) -> None:
        if not cls.users:
            cls.logger = weakref.ref(logger)
        cls.users += 1
        weakref.finalize(user, cls.drop)

    @classmethod
    def drop(cls) -> None:
        cls.users -= 1

    @classmethod
    def error(cls, text: str) -> None:
        logger: Any = cls.logger and cls.logger()
        assert logger is not None, "the logger that came first is gone"
        logger.log(ILogger.ERROR, text)


class IProgressMonitor:
    pass


class IProfiler:
    pass


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        assert all(a <= b <= c for a, b, c in zip(low, best, high, strict=True))
        self.shapes[name] = [list(low), list(best), list(high)]


class Config:
    def __init__(self) -> None:
        self.profiles: list[Profile] = []
        self.limits: dict[str, int] = {}
        self.flags = {BuilderFlag.TF32}
        self.progress_monitor: Any = None
        self.profiling_verbosity = "LAYER_NAMES_ONLY"
        self.default_device_type = "GPU"
        self.DLA_core = -1
        self.num_compute_capabilities = 0
        self.timings: TimingCache | None = None

    def set_compute_capability(self, capability: str, index: int) -> bool:
        return index < self.num_compute_capabilities and capability == "CURRENT"

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.limits[pool] = size

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, blob: bytes) -> TimingCache | None:
        if blob == b"damaged":
            return None
        return TimingCache(blob)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        self.timings = cache
        return ignore_mismatch or cache.blob.startswith(b"timings") or not cache.blob

    def can_run_on_DLA(self, layer: Any) -> bool:  # noqa: N802 - TensorRT's name
        assert self.default_device_type == "DLA"
        return layer.type in DLA_LAYERS

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class TimingCache:
    """Kernels timed so far, of this device."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    def combine(self, input_cache: TimingCache, ignore_mismatch: bool) -> bool:
        """Take over what another one knows; only where both are of this device."""
        if not (ignore_mismatch or input_cache.blob.startswith(b"timings")):
            return False
        self.add(*input_cache.blob.split(b"+")[1:])
        return True

    def add(self, *kernels: bytes) -> None:
        known = {*self.blob.split(b"+")[1:], *kernels}
        self.blob = b"+".join([b"timings", *sorted(known)])

    def serialize(self) -> bytes:
        return self.blob


class Tensor:
    """An input, or what a node gives."""

    def __init__(self, name: str, dtype: str = "", shape: Any = ()) -> None:
        self.name, self.dtype, self.shape = name, dtype, tuple(shape)
        self.allowed_formats = 1  # linear


class Layer:
    """A node of the graph; `set_input` writes into it."""

    def __init__(self, node: Any) -> None:
        self.node, self.name, self.type = node, node.name, node.op_type

    def get_input(self, index: int) -> Tensor | None:
        return Tensor(self.node.input[index]) if index < len(self.node.input) else None

    def get_output(self, index: int) -> Tensor:
        return Tensor(self.node.output[index])

    def set_input(self, index: int, tensor: Tensor) -> None:
        self.node.input[index] = tensor.name


class Network:
    def __init__(self) -> None:
        self.model: Any = None
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    @property
    def num_layers(self) -> int:
        return len(self.model.graph.node)

    def get_layer(self, index: int) -> Layer:
        return Layer(self.model.graph.node[index])

    def graph(self) -> bytes:
        """The ONNX graph as it is now; TensorRT sorts layers by itself."""
        from adcvsr.export.graphs.graph_edit import sort_nodes

        sort_nodes(self.model.graph)
        data: bytes = self.model.SerializeToString()
        return data


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self.network = network
        self.num_errors = 0

    def parse(self, data: bytes) -> bool:
        session = open_graph(data)
        self.network.model = load_model(data)
        self.network.inputs = [
            Tensor(t.name, DTYPES[t.type], [s if isinstance(s, int) else -1 for s in t.shape])
            for t in session.get_inputs()
        ]
        self.network.outputs = [Tensor(t.name, DTYPES[t.type]) for t in session.get_outputs()]
        return True


class Builder:
    built = 0
    num_DLA_cores = 0  # noqa: N815 - TensorRT's name

    def __init__(self, logger: ILogger) -> None:
        Registered.add(self, logger)

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << _Bits.STRONGLY_TYPED, "weakly typed"
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> Any:
        assert config.limits.get("WORKSPACE"), "no cap on the workspace"
        assert config.profiling_verbosity == "DETAILED"
        (profile,) = config.profiles
        assert profile.shapes.keys() == {t.name for t in network.inputs}
        for tensor in network.inputs:
            low, _, high = profile.shapes[tensor.name]
            assert (-1 in tensor.shape) == (low != high), "open sizes where there is one"
            readers = {n.op_type for n in network.model.graph.node if tensor.name in n.input}
            if tensor.dtype == "uint8" and readers != {"Cast"}:
                Registered.error(f"{tensor.name}: UINT8 is not supported by {sorted(readers)}")
                return None
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 4)
        for step in range(4):
            if not monitor.step_complete("Building", step):
                return None
        monitor.phase_finish("Building")
        Builder.built += 1
        if config.timings is not None:
            shape = next(iter(config.profiles[0].shapes.values()))[1]
            config.timings.add("x".join(map(str, shape[1:3])).encode())
        plan = {
            "onnx": base64.b64encode(network.graph()).decode(),
            "profile": profile.shapes,
            "tf32": BuilderFlag.TF32 in config.flags,
            "hwc8": [
                tensor.name
                for tensor in (*network.inputs, *network.outputs)
                if tensor.allowed_formats == 1 << TensorFormat.HWC8
            ],
            "dla": config.DLA_core if config.default_device_type == "DLA" else None,
        }
        return json.dumps(plan).encode()


class Engine:
    def __init__(self, plan: dict[str, Any], driver: FakeDriver, is_rtx: bool) -> None:
        self.plan, self.driver, self.is_rtx = plan, driver, is_rtx
        self.graph = base64.b64decode(plan["onnx"])
        self.session = open_graph(self.graph)
        self.inputs = {t.name: t for t in self.session.get_inputs()}
        self.outputs = {t.name: t for t in self.session.get_outputs()}
        self.names = [*self.inputs, *self.outputs]
        self.num_io_tensors = len(self.names)
        self.num_layers = 1

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def create_execution_context(self, config: RuntimeConfig | None = None) -> Context:
        context = Context(self)
        context.swaps_kernels = self.is_rtx
        if config is not None:
            strategy = config.dynamic_shapes_kernel_specialization_strategy
            context.swaps_kernels = strategy == "LAZY"
            context.kernels = None if config.cache is None else config.cache.kernels
        return context

    def create_runtime_config(self) -> RuntimeConfig:
        assert self.is_rtx
        return RuntimeConfig()

    def create_engine_inspector(self) -> Any:
        layers = fused_layers(self.graph)
        if self.plan["dla"] is not None:
            convolutions = [n for n, each in enumerate(layers) if "Conv" in each["LayerType"]]
            layers[convolutions[0]]["LayerType"] = "DLA"
        text = json.dumps({"Layers": layers, "Bindings": self.names})
        return types.SimpleNamespace(get_engine_information=lambda form: text)


DLA_LAYERS = ("Conv", "Relu", "Add", "Concat")


def load_model(graph: bytes) -> Any:
    onnx = pytest.importorskip("onnx", reason="the fake reads its layers from the graph")
    return onnx.load_model_from_string(graph)


def nodes_of(graph: bytes) -> list[Any]:
    return list(load_model(graph).graph.node)


def fused_layers(graph: bytes) -> list[dict[str, Any]]:
    """Layers as TensorRT's inspector gives them: a convolution and all up to the next are one."""
    groups: list[list[Any]] = [[]]
    for node in nodes_of(graph):
        if node.op_type == "Conv":
            groups.append([])
        groups[-1].append(node)
    read = [{"Name": "x", "Format/Datatype": "Row major linear FP32 format"}]
    layers = [{"Name": "Reformatting CopyNode for Input Tensor 0 to it", "LayerType": "Reformat"}]
    return layers + [
        {
            "Name": " + ".join(node.name for node in group),
            "LayerType": "CaskConvolution" if group[0].op_type == "Conv" else "PointWise",
            "Inputs": read,
            "Outputs": read,
            # Its own separators between names, as in 10.x.
            "Metadata": "\x1e".join(f"[ONNX Layer: {node.name}]" for node in group),
        }
        for group in groups
        if group
    ]


LAYER_MS = 0.0001
"""The nth layer takes n times as long."""

DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}


class RuntimeCache:
    """Kernels by shape, as TensorRT-RTX's cache of what it compiled."""

    def __init__(self) -> None:
        self.kernels: set[str] = set()

    def serialize(self) -> bytes:
        return b"kernels" + json.dumps(sorted(self.kernels)).encode()

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"kernels"):
            return False
        self.kernels.update(json.loads(blob[7:]))
        return True


class RuntimeConfig:
    def __init__(self) -> None:
        self.cache: RuntimeCache | None = None
        self.dynamic_shapes_kernel_specialization_strategy = "LAZY"

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class Context:
    compiled = 0
    """Kernels compiled because no cache had them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = weakref.proxy(engine)  # as in TensorRT: the engine has to outlive it
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.prepared = False
        self.profiler: Any = None
        self.enqueue_emits_profile = True
        self.unreported = False
        self.kernels: set[str] | None = None
        self.swaps_kernels = False
        """Others take their place while it runs, as TensorRT-RTX does unless told."""
        self.capturable = True
        self.driver = engine.driver

    def __del__(self) -> None:
        if any(stream.queued for stream in self.driver.streams.values()):
            self.driver.faults.append("an execution context destroyed while it runs")

    def is_stream_capturable(self, stream: int) -> bool:
        return self.capturable

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.engine.plan["profile"][name]
        if not all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True)):
            Registered.error(f"{name}: {shape} is not in [{low}, {high}]")
            return False
        self.shapes[name] = tuple(shape)
        self.prepared = False
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.inputs if name not in self.shapes]

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self.engine.names
        assert address % 256 == 0, "unaligned"
        self.addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        engine, driver = self.engine, self.engine.driver
        stream: Stream = driver.streams[handle]
        assert not self.infer_shapes(), "a run without shapes"
        assert self.addresses.keys() == set(engine.names), "a tensor without address"
        assert len(set(self.addresses.values())) == len(engine.names), "tensors on one another"
        if stream.recording is not None and not self.prepared:
            stream.broken = True  # as a real one allocates and synchronises then
            Registered.error("operation not permitted when stream is capturing")
            return False
        assert stream.recording is None or not self.swaps_kernels, "captured, and then swapped"
        if not self.prepared and self.kernels is not None:
            Context.compiled += str(self.shapes) not in self.kernels
            self.kernels.add(str(self.shapes))
        self.prepared = True
        assert self.profiler is None or not self.enqueue_emits_profile, "each run would wait"
        self.unreported = self.profiler is not None
        driver.calls.append("enqueue")
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def work() -> None:
            feeds = {}
            for name, tensor in engine.inputs.items():
                dtype = np.dtype(DTYPES[tensor.type])
                size = int(np.prod(shapes[name])) * dtype.itemsize
                stored = driver.view(addresses[name], size).view(dtype)
                if name in engine.plan["hwc8"]:
                    n, c, h, w = shapes[name]
                    feeds[name] = stored.reshape(n, h, w, c).transpose(0, 3, 1, 2)
                else:
                    feeds[name] = stored.reshape(shapes[name])
            results = engine.session.run(list(engine.outputs), feeds)
            for name, value in zip(engine.outputs, results, strict=True):
                stored = value.transpose(0, 2, 3, 1) if name in engine.plan["hwc8"] else value
                data = np.ascontiguousarray(stored).reshape(-1).view(np.uint8)
                driver.view(addresses[name], data.nbytes)[:] = data

        stream.queue(work)
        return True

    def report_to_profiler(self) -> bool:
        assert not any(stream.queued for stream in self.driver.streams.values()), "still running"
        if not self.unreported:
            return False
        self.unreported = False
        for index, layer in enumerate(fused_layers(self.engine.graph)):
            self.profiler.report_layer_time(layer["Name"], LAYER_MS * (index + 1))
        return True


def make_module(driver: FakeDriver, version: str = "10.3.0") -> types.ModuleType:
    """A module to put into `sys.modules` as `tensorrt`."""

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            Registered.add(self, logger)
            self.engine_host_code_allowed = False
            self.DLA_core = -1

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            if not re.match(rb'\{"onnx"', plan):
                Registered.error("magicTag == kMAGIC_TAG failed: a plan of another version")
                return None
            engine = Engine(json.loads(plan), driver, is_rtx=version.startswith("1."))
            assert engine.plan["dla"] in (None, self.DLA_core), "not the core it was built for"
            return engine

    module = types.ModuleType("tensorrt")
    module.__dict__.update(
        __version__=version,
        ILogger=ILogger,
        IProgressMonitor=IProgressMonitor,
        IProfiler=IProfiler,
        Builder=Builder,
        OnnxParser=OnnxParser,
        Runtime=Runtime,
        BuilderFlag=BuilderFlag,
        TensorIOMode=TensorIOMode,
        TensorFormat=TensorFormat,
        DataType=types.SimpleNamespace(UINT8="uint8", HALF="float16"),
        LayerType=types.SimpleNamespace(SHAPE="Shape", CAST="Cast"),
        NetworkDefinitionCreationFlag=_Bits,
        DeviceType=types.SimpleNamespace(DLA="DLA"),
        MemoryPoolType=types.SimpleNamespace(WORKSPACE="WORKSPACE"),
        ProfilingVerbosity=types.SimpleNamespace(DETAILED="DETAILED"),
        DynamicShapesKernelSpecializationStrategy=types.SimpleNamespace(EAGER="EAGER"),
        ComputeCapability=types.SimpleNamespace(CURRENT="CURRENT"),
        LayerInformationFormat=types.SimpleNamespace(JSON="JSON"),
        HardwareCompatibilityLevel=types.SimpleNamespace(AMPERE_PLUS="AMPERE_PLUS"),
    )
    return module
