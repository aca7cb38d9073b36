"""Targets: the devices a network is planned and built for, and what they can do."""

from .catalogue import (
    TARGETS,
    target,
)

__all__ = [
    "TARGETS",
    "target",
]
