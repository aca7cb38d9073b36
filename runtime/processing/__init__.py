"""Frames in and pictures out around a session: which backend, windows, cuts, colours."""
