"""The process that runs ModelOpt on one graph.

    python -m adcvsr.export.modelopt.modelopt_worker JOB.json

A process of its own, as ModelOpt orders nodes by hashes of strings (PYTHONHASHSEED=0 makes its
bytes the same every time) and loads torch, which calibration does not need otherwise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class FolderReader:
    """Calibration inputs from `.npz` files, one at a time; what ModelOpt calls a data reader.

    Args:
        folder: Files of one feed each, read in the order of their names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rewind()

    def get_next(self) -> dict[str, Any] | None:
        """Return the next feed, None behind the last."""
        return next(self._feeds, None)

    def get_first(self) -> dict[str, Any] | None:
        """Return the first feed without moving on."""
        return next(self._all(), None)

    def rewind(self) -> None:
        """Begin again."""
        self._feeds = self._all()

    def _all(self) -> Iterator[dict[str, Any]]:
        for file in sorted(self.folder.glob("*.npz")):
            with np.load(file) as arrays:
                yield dict(arrays)


def main() -> None:
    """Quantize as the job file says."""
    job = json.loads(Path(sys.argv[1]).read_text())
    from modelopt.onnx.quantization import quantize

    quantize(
        job["graph"],
        quantize_mode=job["precision"],
        calibration_data_reader=FolderReader(Path(job["feeds"])),
        calibration_method=job["calibration"],
        calibration_eps=["cpu"],
        op_types_to_quantize=job["op_types"],
        op_types_to_exclude_fp16=job["keep_float32_types"],
        nodes_to_exclude=job["exclude"],
        output_path=job["output"],
        high_precision_dtype={"float16": "fp16", "float32": "fp32"}[job["high_precision"]],
        direct_io_types=False,  # it would make state INT8, with a scale nobody knows
        log_level="ERROR",
        opset=job["opset"],
    )


if __name__ == "__main__":
    main()
