"""After a conversion: is the result, read as a stranger would, the model of the plan?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmllava.checkpoints.conversion.compare import compare, compare_moves
from mmllava.checkpoints.conversion.manifest import verify
from mmllava.checkpoints.conversion.prepare import Conversion
from mmllava.checkpoints.layouts.identify import identify, weights_of
from mmllava.checkpoints.layouts.tensor_plan import TensorPlan, passthrough
from mmllava.checkpoints.storage.reader import read_entries
from mmllava.errors import CheckpointError


def verify_conversion(
    conversion: Conversion, destination: Path, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Reads a result again, tells its layout anew, and computes every tensor of it anew.

    Args:
        conversion: what was written.
        destination: where.
        progress: called with the bytes read since the last call; twice the result's in all.

    Returns:
        what was compared.

    Raises:
        CheckpointError: the result is not what the sources give, and what differs.
    """
    kind = identify(destination)
    if kind.layout != conversion.layout:
        raise CheckpointError(
            f'{destination} was written as {conversion.layout} and reads as {kind.layout}: '
            f'{kind.reason} Do not use it; report this.'
        )
    figures = verify(destination, progress)
    written: dict[str, TensorPlan] = {
        name: passthrough(name, entry)
        for name, entry in read_entries(weights_of(destination)).items()
    }
    planned = {move.name: move for move in conversion.kept}
    # In the order of the files, both.
    found = compare_moves({n: written[n] for n in planned}, planned, progress)
    if not (found.same and found.equal == len(planned)):
        raise CheckpointError(
            f'{destination} differs from what its sources give: {found.as_dict()}. A source was '
            'changed meanwhile, or the disk is damaged. Convert again.'
        )
    figures = dict(figures, equal=found.equal)
    if conversion.layout == 'delta':  # float16 cannot hold every difference
        sources = conversion.sources
        back = compare(sources['source'], destination, progress, sources['base'])
        figures['given_back'] = back.as_dict()
    return figures
