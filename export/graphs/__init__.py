"""ONNX graphs of a network: traced, edited, written, run again to compare."""
