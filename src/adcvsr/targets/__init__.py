"""Targets: the devices a network is planned and built for, and what they can do."""

from .catalogue import TARGETS, target
from .facts import SOURCES, Dla, Fact, Target
from .recognise import recognise

__all__ = ["SOURCES", "TARGETS", "Dla", "Fact", "Target", "recognise", "target"]
