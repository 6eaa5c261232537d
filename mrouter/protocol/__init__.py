"""The protocol machines, sans-IO: events and the time in, effects out."""
