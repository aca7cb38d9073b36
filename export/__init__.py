"""Export: checkpoint to bundle, with proof that the graph is the network.

adcvsr export runs/nano/checkpoint.safetensors -o nano-bundle
"""
