"""The agents: sockets, one timer and the loop around a protocol role."""
