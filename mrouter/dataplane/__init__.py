"""The desired kernel state, and how it gets into the kernel."""
