"""LLaMA + the published difference = LLaVA: one path of ``conversion``, by its old name.

merge = prepare_merge('huggyllama/llama-7b', 'liuhaotian/LLaVA-Lightning-7B-delta-v1-1')
write_merge(merge, 'llava-7b')
"""

from pathlib import Path

from mmllava.checkpoints.conversion.prepare import Conversion, prepare_conversion
from mmllava.checkpoints.conversion.run import write_conversion
from mmllava.checkpoints.storage.hub import fetch, is_hub_id, is_local
from mmllava.checkpoints.storage.reader import read_config

write_merge = write_conversion


def prepare_merge(
    base: str | Path,
    delta: str | Path,
    tower: str | Path | None = None,
    to_folder: bool = True,
) -> Conversion:
    """Reads headers and configs, and refuses what cannot be merged.

    Args:
        base: LLaMA: a hub id, a folder or a weight file.
        delta: the difference, likewise.
        tower: a CLIP model whose vision half becomes part of the result, likewise.
        to_folder: whether the result is to be a folder that needs nothing else. Then,
            where base or delta come from the hub, so does the tower that the delta names.

    Raises:
        CheckpointError: says what was found, what was expected and what to do.
    """
    from_hub = not (is_local(base) and is_local(delta))
    base, delta = fetch(base), fetch(delta)
    # v0's configs name no tower, and meant this one.
    named = read_config(delta).get('mm_vision_tower') or 'openai/clip-vit-large-patch14'
    if tower is None and to_folder and from_hub and is_hub_id(named):
        tower = named
    return prepare_conversion(delta, 'original', base, tower, layout='delta', base_layout='llama')
