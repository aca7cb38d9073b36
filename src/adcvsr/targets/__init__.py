"""Targets: the devices a network is planned and built for, and what they can do."""

from .catalogue import TARGETS, target
from .facts import SOURCES, Dla, Fact, Target

__all__ = ["SOURCES", "TARGETS", "Dla", "Fact", "Target", "target"]
