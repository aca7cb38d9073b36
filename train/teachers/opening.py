"""Opening the teacher that settings name; each kind lies in a file of its own.

with open_teacher(TeacherSettings(kind="student", weights="small.safetensors"), device) as teacher:
    target = teacher.teach(low)  # (N, T, 3, h, w) -> (N, T, 3, 4h, 4w), both in [0, 1]
"""

from __future__ import annotations

from pathlib import Path

import torch

from .teacher import GroundTruth, StudentTeacher, Teacher, TeacherSettings


def open_teacher(settings: TeacherSettings, device: torch.device | str = "cpu") -> Teacher:
    """Make the teacher that settings describe; its weights are loaded on entering it.

    Raises:
        ConfigError: Settings that do not fit the weights, such as a hub id without revision.
        CheckpointError: A checkpoint or weights that cannot be read.
        MissingPackageError: `dove` without diffusers.
        TeacherCacheError: A `cache` that is damaged.
    """
    if settings.kind == "truth":
        return GroundTruth(device)
    if settings.kind == "student":
        return StudentTeacher(Path(settings.weights), device, settings.dtype or "float32")
    if settings.kind == "cache":
        from .cached import CachedOutputs

        return CachedOutputs(Path(settings.weights), device)
    if settings.kind == "ncnn":
        from .ncnn import NcnnTeacher

        return NcnnTeacher(settings.weights, device)
    from .dove import DoveTeacher

    return DoveTeacher(settings, device)
