"""Floor 4. A name or a path becomes a running model."""
