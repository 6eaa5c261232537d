"""Flow policies: load, validate, resolve, explain."""
