"""Calibration sets: frames chosen from clips, written once, read as the inputs of a graph."""
