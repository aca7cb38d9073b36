"""Engines: what to build, building it, keeping it, accepting it, going back."""
