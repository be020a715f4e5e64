"""Whether a machine and a checkpoint fit a model, before anything is moved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmllava.checkpoints import TensorEntry
from mmllava.checkpoints.layouts.delta import is_difference
from mmllava.checkpoints.storage.hub import is_hub_id
from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import CheckpointError, DeviceError
from mmllava.images.anyres import read_grid
from mmllava.models.hf_config import plain_rope

# What changes answers and no shape tells: config.json key -> transformers' default.
_LANGUAGE = dict(
    num_attention_heads=None,
    rms_norm_eps=1e-6,
    hidden_act='silu',
    rope_theta=10000.0,
    rope_scaling=None,
)


def check_device(device: Any) -> None:
    """Refuses a CUDA device that is not there.

    Raises:
        DeviceError: says how many there are.
    """
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"'{device}' is no device; expected cpu, cuda or cuda:1.") from error
    if device.type != 'cuda':
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceError(
            f"device '{device}' was asked for, and PyTorch {torch.__version__} sees {count} CUDA "
            "devices. Use device='cpu', or a machine (and a PyTorch build) with CUDA."
        )


def check_not_delta(entries: Mapping[str, TensorEntry], path: str | Path) -> None:
    """Refuses weights that are a difference to LLaMA, not yet merged.

    A language model's last norm scales by about 1; a difference is near 0 there.

    Raises:
        CheckpointError: with the command that merges.
    """
    entry = entries.get('language.lm.model.norm.weight')
    if entry is None:
        return
    difference, size = is_difference(entry)
    if difference:
        raise CheckpointError(
            f'{path} looks like a delta: its last norm is {size:.3f} on average, and that of a '
            'model about 1. Merge it with LLaMA first: python '
            'tools/model_converters/llava-delta2mmpre.py BASE DELTA MERGED.'
        )


def check_folder_config(model: Any, folder: Path, begins: bool = False) -> None:
    """Compares a checkpoint folder's ``config.json`` with the model, where shapes cannot tell.

    Where training begins with it, the model may see pictures otherwise than it did.

    Raises:
        CheckpointError: names each setting that differs.
    """
    file = folder / 'config.json'
    if not file.is_file():
        return
    stored = plain_rope(read_json(file))
    if stored.get('image_grid_pinpoints'):
        stored['image_grid_pinpoints'] = read_grid(stored['image_grid_pinpoints'])
    sizes = model.language.sizes
    ours = {name: sizes.get(name) or default for name, default in _LANGUAGE.items()}
    ours['num_key_value_heads'] = sizes.get('num_key_value_heads') or sizes['num_attention_heads']
    ours['mm_use_im_start_end'] = model.prompt_builder.use_im_start_end
    ours['mm_vision_select_layer'] = model.vision_tower.select_layer
    ours['mm_vision_select_feature'] = model.vision_tower.select_feature
    if not begins:
        ours['mm_patch_merge_type'] = model.mm_patch_merge_type
    if model.image_grid_pinpoints and not begins:
        ours['image_grid_pinpoints'] = model.image_grid_pinpoints
    towers = (str(model.vision_tower.pretrained), str(stored.get('mm_vision_tower')))
    if all(is_hub_id(t) and not Path(t).is_dir() for t in towers):  # a local folder may hold any
        ours['mm_vision_tower'] = towers[0]
    wrong = [
        f'{name} is {stored[name]!r} there and {value!r} in the config'
        for name, value in ours.items()
        if stored.get(name) is not None and stored[name] != value
    ]
    if wrong:
        raise CheckpointError(
            f'{file} is of another model: {"; ".join(wrong)}. Use the config of this checkpoint, '
            'or correct the setting in it.'
        )
