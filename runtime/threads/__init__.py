"""Threads that end in order, their CPU time, and who may use a network."""
