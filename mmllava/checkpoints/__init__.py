"""Floor 1. Weight files in, weight files out; no model is ever built here.

Nothing here imports torch: a merge starts at once and reads no weight twice.
"""

from mmllava.checkpoints.reader import TensorEntry, map_tensor, read_config, read_entries

__all__ = ['TensorEntry', 'map_tensor', 'read_config', 'read_entries']
