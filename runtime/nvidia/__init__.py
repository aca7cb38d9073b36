"""NVIDIA's side: driver, device memory, and the compilers' flavours; nothing of ours above them."""
