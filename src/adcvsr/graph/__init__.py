"""ONNX graphs read without onnx: shapes, costs, and what their nodes compute in."""
