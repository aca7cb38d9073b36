"""Proof that a network gives here what it gave where it was made: golden pictures, colours."""
