"""FP16 and BF16 variants: what stays FP32 is decided over real pictures (AutoCast)."""
