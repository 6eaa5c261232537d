"""Bytes to messages and back: the only place that knows the layouts."""
