"""Floor 1. Strings in, scores out: caption metrics in pure Python."""
