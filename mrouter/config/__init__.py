"""The configuration of a role: load a file, or name every mistake in it."""
