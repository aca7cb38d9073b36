"""Picture measures in numpy, for machines with and without torch.

from adcvsr.metrics import psnr_y, ssim_y
psnr_y(output, truth)  # uint8 (H, W, 3) RGB both
"""

from .fidelity import luma, psnr, psnr_y, ssim, ssim_y
from .resample import limit_size, resize_bicubic

__all__ = ["limit_size", "luma", "psnr", "psnr_y", "resize_bicubic", "ssim", "ssim_y"]
