"""What runs in the process that ModelOpt's AutoCast has to itself: a request as JSON on stdin."""

from __future__ import annotations

import json
import sys

NOT_INSTALLED = 3
"""Exit code where ModelOpt is missing."""


def main() -> int:
    """Convert one graph."""
    try:
        from modelopt.onnx.autocast import convert_to_mixed_precision
    except ImportError:
        return NOT_INSTALLED
    import onnx

    request = json.load(sys.stdin)
    model = convert_to_mixed_precision(
        request["source"],
        op_types_to_exclude=request["operators"],
        nodes_to_exclude=request["nodes"],
        # Ranges are measured beforehand: AutoCast's own runner keeps every tensor of every sample,
        # and takes the integers of a shape for large values.
        data_max=float("inf"),
        keep_io_types=False,
        providers=["cpu"],
    )
    onnx.save(model, request["target"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
