"""Memory for time: activations of the large blocks are computed again in the backward pass.

    recompute_activations(student)

Used by the stages where the recipe says so; gradients stay the same.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from ..model.blocks import ResnetBlock, Transformer2D, Upsample
from ..model.temporal import TemporalBlock
from .convnext import Block

BLOCKS = (ResnetBlock, Transformer2D, TemporalBlock, Upsample, Block)
"""What is run twice; their insides hold several times the memory of their inputs."""


def recompute_activations(module: nn.Module) -> None:
    """Keep only the inputs of blocks until the backward pass.

    Copies must be made before: a copied module would run the original's blocks. A causal network's
    carried state, which training does not use, is not meant to be used after the backward pass.
    """
    for child in module.modules():
        if isinstance(child, BLOCKS):
            child.forward = partial(  # type: ignore[method-assign]
                checkpoint, child.forward, use_reentrant=False, preserve_rng_state=False
            )
