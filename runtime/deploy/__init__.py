"""First boot on a device: build, try out, accept, make current."""
