"""PyTorch weights as ONNX, by spandrel, which tells the network from the names of its weights.

spandrel (MIT) is an extra: it needs torchvision, of the same release as torch. Its loader unpickles
tensors alone; nothing else in a file is run.

    model = torch_to_onnx(Path("model.pth"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from ...adopted_network import MOST_SCALE
from ...errors import AdoptError

TWO_WAYS = (
    "there are two ways around: export it to ONNX where its code is (torch.onnx.export with "
    "dynamic height and width), or adopt the .param and .bin that many such networks are "
    "published as"
)

COLOURS = 3

TRIAL_UNITS = (3, 4)
"""Height and width of the traced example, in units of what sizes are multiples of."""

LEAST_UNIT = 8

TOLERANCE = 1e-3
"""Largest difference of the traced graph from the network, of white."""

REBUILDS = "update_params"
"""Method by which SPAN's convolutions write their weights anew whenever they run."""


def torch_to_onnx(path: Path) -> onnx.ModelProto:
    """Load weights into their network and trace it.

    Args:
        path: `.pth`, `.pt`, `.ckpt` or `.safetensors`.

    Returns:
        From `picture` (1, 3, H, W) in [0, 1], RGB, to one `scale` times as large.

    Raises:
        AdoptError: spandrel is not installed or does not know the network; it is no upscaler; it
            cannot be traced.
    """
    try:
        import spandrel
    except ImportError as error:
        raise AdoptError(
            f"'{path}' holds weights of PyTorch, which say nothing of the network they belong to; "
            "the package spandrel, which knows many, cannot be imported "
            f"({error}): pip install 'adcvsr[spandrel]'. Without it {TWO_WAYS}"
        ) from error
    try:
        found: Any = spandrel.ModelLoader(device="cpu").load_from_file(str(path))
    except Exception as error:  # of several kinds: unknown networks, damaged files
        raise AdoptError(
            f"spandrel does not load '{path}': {_first_line(error)}; {TWO_WAYS}"
        ) from error
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise AdoptError(f"'{path}' is a network of {found.purpose}, no upscaler")
    name, ends = found.architecture.name, (found.input_channels, found.output_channels)
    if ends != (COLOURS, COLOURS) or found.scale not in range(1, MOST_SCALE + 1):
        raise AdoptError(
            f"'{path}' ({name}) takes {ends[0]} channels, gives {ends[1]} and makes {found.scale} "
            f"times the size; expected 3 and 3 colours and 1 to {MOST_SCALE} times"
        )
    return _traced(path, found, name)


def _traced(path: Path, found: Any, name: str) -> onnx.ModelProto:
    import onnx_ir
    import torch

    from ..graphs.onnx_file import trace
    from ..graphs.replay import open_session

    unit = found.size_requirements.multiple_of
    step = max(-(-LEAST_UNIT // unit), -(-found.size_requirements.minimum // (3 * unit)), 1) * unit
    height, width = (count * step for count in TRIAL_UNITS)
    generator = torch.Generator().manual_seed(0)
    example = torch.rand((1, COLOURS, height, width), generator=generator)
    rows, columns = (torch.export.Dim(name, min=2, max=1 << 14) for name in ("rows", "columns"))
    network = found.float().eval().model
    expected = found(example).numpy()
    if written := _written_again(network, example):
        raise AdoptError(
            f"'{path}' ({name}): its module '{written}' writes its weights whenever it runs, which "
            f"cannot be traced; {TWO_WAYS}"
        )
    try:
        model = onnx_ir.to_proto(
            trace(
                network,
                (example,),
                ({2: unit * rows, 3: unit * columns},),
                inputs=["picture"],
                outputs=["upscaled_picture"],
            )
        )
        session = open_session(model.SerializeToString())
        made = session.run(None, {"picture": example.numpy()})[0]
    except Exception as error:  # of several kinds, from torch's exporter and ONNX Runtime
        raise AdoptError(
            f"'{path}' ({name}) cannot be traced with dynamic sizes: {_first_line(error)}; "
            f"{TWO_WAYS}"
        ) from error
    difference = float(abs(made.clip(0, 1) - expected).max()) if made.shape == expected.shape else 1
    if not difference <= TOLERANCE:
        raise AdoptError(
            f"'{path}' ({name}): the traced graph is {difference:.2g} of white from what spandrel "
            f"gives, at most {TOLERANCE:g} allowed; {TWO_WAYS}"
        )
    return model


def _written_again(network: Any, example: Any) -> str:
    """Have weights that are written at every run written for the last time.

    torch's exporter crashes where a network writes weights: it writes its own stand-ins into them.

    Returns:
        Name of a module whose weights are written nevertheless; empty where none are.
    """
    import torch

    changed = list[str]()
    with torch.no_grad():  # spandrel's own call leaves tensors that cannot be traced
        network(example)
        for kept in (True, False):
            before = {name: each.data_ptr() for name, each in network.named_parameters()}
            network(example)
            after = {name: each.data_ptr() for name, each in network.named_parameters()}
            changed = [name for name, place in after.items() if place != before.get(name)]
            if not changed:
                return ""
            if kept:
                for module in network.modules():
                    if hasattr(module, REBUILDS):
                        setattr(module, REBUILDS, lambda: None)
    return changed[0].rpartition(".")[0]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
