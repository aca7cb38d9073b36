"""Measuring a bundle against the truth: methods, scores, and the pictures they are judged by."""
