"""Teachers: what a student is to become like, live or from a cache of their outputs.

`teacher` is the contract, with the truth and larger students behind it; `dove` the published
diffusion transformer. A cache is a folder (`store`) of lossless samples (`sample`), filled by
`cache` or with other programs' results by `foreign`, and read back by `cached`.
"""

from .opening import open_teacher
from .teacher import GroundTruth, Teacher, TeacherSettings, clip_key

__all__ = ["GroundTruth", "Teacher", "TeacherSettings", "clip_key", "open_teacher"]
