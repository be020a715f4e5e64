"""Floor 1. Bytes in, pixels out."""
