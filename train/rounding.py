"""A student whose residual streams are rounded in training as its INT8 variant for CPUs does it.

Eight bits lose most in what residual blocks add to (docs/decisions.md, "INT8 on still parts"). The
variant `int8-ort` says how: by the matrix that mixes a stream's channels, and by the step and range
they share. The same is done here to what convolutions write into the streams, and gradients pass as
if nothing were rounded (a straight-through estimator: Bengio et al. 2013, arXiv 1308.3432).

    streams = RoundedStreams(network, read_roundings(bundle, network, device))
    with streams.exact():
        ...  # nothing is rounded
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..adopted_network import AdoptedNetwork
from ..bundle import Bundle
from ..bundle.units import declared_units
from ..errors import ConfigError
from ..graph.file import read_graph
from ..model import AdcVsr
from ..variants import REFERENCE

VARIANT = "int8-ort"
"""Whose rounding it is."""

LEVELS = 255
"""Steps of eight bits."""

EXPORTED = "network."
"""What an exported graph's weights are called beyond their names in the network."""


@dataclass(frozen=True)
class Rounding:
    """How one tensor becomes eight bits."""

    to_stored: Tensor
    """(C, C): gives the channels that are stored from the network's own."""

    from_stored: Tensor
    """(C, C): its inverse."""

    step: float
    """Between two stored values, of all channels."""

    zero: int
    """The stored value that means 0, in [0, 255]."""

    def __call__(self, values: Tensor) -> Tensor:
        """Round (N, C, H, W); gradients pass, but for what is out of range."""
        low, high = -self.zero * self.step, (LEVELS - self.zero) * self.step
        stored = _mix(self.to_stored, values.float()).clamp(low, high)
        rounded = (stored / self.step).round() * self.step
        return _mix(self.from_stored, stored + (rounded - stored).detach()).to(values.dtype)


class RoundedStreams:
    """Rounds what convolutions of a network write whenever it runs, but within `exact`.

    Args:
        network: Gets a hook at each of them; its weights and their names stay as they are.
        roundings: By the convolutions' module paths.
    """

    def __init__(self, network: nn.Module, roundings: Mapping[str, Rounding]) -> None:
        self._rounding = True
        for path, rounding in roundings.items():
            network.get_submodule(path).register_forward_hook(self._hook(rounding))

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Nothing is rounded inside."""
        self._rounding = False
        try:
            yield
        finally:
            self._rounding = True

    def _hook(self, rounding: Rounding) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def round_written(module: nn.Module, given: object, written: Tensor) -> Tensor:
            return rounding(written) if self._rounding else written

        return round_written


def read_roundings(bundle: Bundle, network: AdcVsr, device: torch.device) -> dict[str, Rounding]:
    """How a bundle's `int8-ort` rounds what the network's convolutions write into its streams.

    Args:
        bundle: Of the same network; its weights may be others.
        network: Whose module paths are given.
        device: Where the network is.

    Returns:
        By module path.

    Raises:
        ConfigError: The bundle is another network's, or has no such variant with mixed streams.
        BundleError: A file of it is damaged.
        GraphError: A graph of it is damaged.
    """
    _require_same(bundle, network)
    units = declared_units(bundle, VARIANT) if VARIANT in bundle.variants else {}
    steps = _steps(bundle) if units else {}
    found: dict[str, Rounding] = {}
    for tensor, path in _written(bundle).items():
        matrix = units.get(tensor)
        if matrix is not None and matrix.ndim == 2 and tensor in steps:
            mixing = torch.from_numpy(matrix).double()
            unmixing = torch.linalg.inv(mixing)
            step, zero = steps[tensor]
            found[path] = Rounding(
                mixing.float().to(device), unmixing.float().to(device), step, zero
            )
    if not found or not found.keys() <= {path for path, _ in network.named_modules()}:
        raise ConfigError(
            f"'{bundle.path}' does not say how its residual streams are rounded: it has no "
            f"'{VARIANT}' whose channels 'adcvsr quantize' mixed; expected a bundle that was "
            "exported from such a checkpoint and quantized with a recipe of the tool onnxruntime "
            "that says mix_channels = true"
        )
    return found


def _require_same(bundle: Bundle, network: AdcVsr) -> None:
    """The bundle's network and this one differ in name alone.

    Raises:
        ConfigError: They do not.
    """
    theirs, ours = bundle.config, network.config
    if isinstance(theirs, AdoptedNetwork) or replace(theirs, name="") != replace(ours, name=""):
        raise ConfigError(
            f"'{bundle.path}' holds '{theirs.name}', another network than the checkpoint's "
            f"'{ours.name}'; expected a bundle that was exported from such a checkpoint"
        )


def _written(bundle: Bundle) -> dict[str, str]:
    """Module path of the convolution that writes a tensor of the FP32 graph, by tensor."""
    graph = read_graph(bundle.read(bundle.variant(REFERENCE).file)).graph
    return {
        node.output[0]: node.input[1].removeprefix(EXPORTED).removesuffix(".weight")
        for node in graph.node
        if node.op_type == "Conv"
    }


def _steps(bundle: Bundle) -> dict[str, tuple[float, int]]:
    """Step and zero point of every tensor that the INT8 graph rounds with one scale."""
    graph = read_graph(bundle.read(bundle.variant(VARIANT).file)).graph
    constants = {tensor.name: tensor.value for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or len(node.input) < 3:
            continue
        step, zero = (constants.get(name) for name in node.input[1:3])
        if step is not None and zero is not None and step.size == zero.size == 1:
            found[node.input[0]] = float(step.item()), int(zero.item())
    return found


def _mix(matrix: Tensor, values: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix, values)
