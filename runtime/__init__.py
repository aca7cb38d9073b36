"""What runs on the device: sources, sessions, the pipeline, sinks. Never imports torch.

from adcvsr.runtime.upscaler import Upscaler
"""
