"""INT8 for ONNX Runtime: ranges, scales, channels and rounding."""
