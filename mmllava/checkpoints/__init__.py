"""Floor 1. Weight files in, weight files out; no model is ever built here.

Nothing here imports torch: a conversion starts at once, and holds a few megabytes at a time.
Every layout goes through the original's names: ``intake`` plans the way in, ``outlet`` the way
out, ``stream`` carries the plan out.
"""

from mmllava.checkpoints.compare import compare
from mmllava.checkpoints.conversion import Conversion, prepare_conversion
from mmllava.checkpoints.deliver import check_write, is_file_destination, write_conversion
from mmllava.checkpoints.delta import prepare_merge, write_merge
from mmllava.checkpoints.identify import LAYOUTS, Kind, identify
from mmllava.checkpoints.manifest import read_manifest, verify
from mmllava.checkpoints.moves import Move, count_moves
from mmllava.checkpoints.outlet import TARGETS
from mmllava.checkpoints.plan import plan_merge, plan_tower
from mmllava.checkpoints.reader import TensorEntry, map_tensor, read_config, read_entries

__all__ = [
    'LAYOUTS',
    'TARGETS',
    'Conversion',
    'Kind',
    'Move',
    'TensorEntry',
    'check_write',
    'compare',
    'count_moves',
    'identify',
    'is_file_destination',
    'map_tensor',
    'plan_merge',
    'plan_tower',
    'prepare_conversion',
    'prepare_merge',
    'read_config',
    'read_entries',
    'read_manifest',
    'verify',
    'write_conversion',
    'write_merge',
]
