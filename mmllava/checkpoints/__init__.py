"""Floor 1. Weight files in, weight files out; no model is ever built here.

Nothing here imports torch: a merge starts at once, and holds a few megabytes at a time.
"""

from mmllava.checkpoints.delta import (
    Merge,
    check_write,
    is_file_destination,
    prepare_merge,
    write_merge,
)
from mmllava.checkpoints.identify import LAYOUTS, Kind, identify
from mmllava.checkpoints.plan import Move, count_moves, plan_merge, plan_tower
from mmllava.checkpoints.reader import TensorEntry, map_tensor, read_config, read_entries

__all__ = [
    'LAYOUTS',
    'Kind',
    'Merge',
    'Move',
    'TensorEntry',
    'check_write',
    'count_moves',
    'identify',
    'is_file_destination',
    'map_tensor',
    'plan_merge',
    'plan_tower',
    'prepare_merge',
    'read_config',
    'read_entries',
    'write_merge',
]
