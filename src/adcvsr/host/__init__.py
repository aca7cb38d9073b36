"""The machine: its board, its processors and what of them this process may use."""
