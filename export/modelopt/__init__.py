"""INT8 and FP8 for TensorRT, by ModelOpt in a process of its own."""
