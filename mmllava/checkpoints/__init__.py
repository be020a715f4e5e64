"""Weight files in, weight files out; no model is built and torch is not imported.

Floor 1. Files:

    conversion/  A conversion job: planned from headers, streamed, resumed after a kill, verified.
    layouts/     The layouts of LLaVA checkpoints: how each is recognised, read and written.
    storage/     Reads and writes weight files tensor by tensor; outputs appear whole or not at all.

Nothing here imports torch: a conversion starts at once, and holds a few megabytes at a time.
Every layout goes through the original's names: ``layouts/to_canonical.py`` plans reading,
``from_canonical.py`` writing, and ``conversion/stream.py`` executes the plan.
"""

from mmllava.checkpoints.conversion.compare import compare
from mmllava.checkpoints.conversion.manifest import read_manifest, verify
from mmllava.checkpoints.conversion.prepare import Conversion, prepare_conversion, prepare_merge
from mmllava.checkpoints.conversion.run import check_write, is_file_destination, write_conversion
from mmllava.checkpoints.layouts.config_schema import read_config
from mmllava.checkpoints.layouts.delta import plan_merge, plan_tower
from mmllava.checkpoints.layouts.from_canonical import TARGETS
from mmllava.checkpoints.layouts.identify import LAYOUTS, Kind, identify
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan, count_moves
from mmllava.checkpoints.storage.reader import TensorEntry, map_tensor, read_entries

__all__ = [
    'LAYOUTS',
    'TARGETS',
    'Conversion',
    'Kind',
    'TensorEntry',
    'TensorPlan',
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
]
