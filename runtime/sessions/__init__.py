"""Sessions: one contract, and the backends that fulfil it on CPUs and GPUs."""
