"""Recomputed activations: the same gradients from less memory."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from adcvsr.model import AdcVsr
from adcvsr.train.convnext import read_convnext
from adcvsr.train.recompute import recompute_activations
from tiny_configs import CLIP_UNET


def kept_bytes(module: nn.Module, x: Tensor) -> tuple[int, list[Tensor]]:
    """Activations between the passes, and the gradients of input and weights."""
    kept: dict[int, Tensor] = {}  # holding them, so that no address is used twice
    weights = {p.data_ptr() for p in module.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor
        return tensor

    x = x.clone().requires_grad_()
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = module(x)
    (out[0] if isinstance(out, tuple) else out[-1]).square().sum().backward()
    parameters = [p.grad for p in module.parameters() if p.grad is not None]
    assert x.grad is not None
    return sum(tensor.nbytes for tensor in kept.values()), [x.grad, *parameters]


def test_student_and_convnext(convnext_file: Path) -> None:
    torch.manual_seed(0)
    student = AdcVsr(CLIP_UNET), torch.rand(1, 3, 3, 32, 32)
    trunk = read_convnext(convnext_file), torch.rand(3, 3, 64, 64)
    for module, x in (student, trunk):
        before, expected = kept_bytes(module, x)
        module.zero_grad(set_to_none=True)
        recompute_activations(module)
        after, found = kept_bytes(module, x)
        assert after < 0.6 * before  # the tiny trunk is half stem
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
