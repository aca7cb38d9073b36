"""The network, in torch: blocks, temporal convolutions, UNet, decoders, checkpoints.

Shape letters, everywhere: N batch, T frames, C channels, H height, W width. 2D layers see frames
as batch, (N*T, C, H, W).

    from adcvsr.model import AdcVsr
    network = AdcVsr(PRESETS["nano"])
    clip_out, state = network(clip)  # (N, T, 3, H, W) in [-1, 1] -> (N, T, 3, 4H, 4W)
"""

from .checkpoint import load_checkpoint, save_checkpoint
from .network import AdcVsr

__all__ = ["AdcVsr", "load_checkpoint", "save_checkpoint"]
