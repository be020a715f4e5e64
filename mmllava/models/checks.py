"""Floor 2. Whether a machine and a checkpoint fit a model, before anything is moved."""

import json
from pathlib import Path
from typing import Any

import torch

from mmllava.checkpoints.fetch import is_hub_id
from mmllava.errors import CheckpointError, DeviceError

# config.json key -> where the same value is in transformers' config of the language model
_LANGUAGE = ('num_attention_heads', 'num_key_value_heads', 'rms_norm_eps', 'hidden_act')


def check_device(device: Any) -> None:
    """Refuses a CUDA device that is not there.

    Raises:
        DeviceError: says how many there are.
    """
    device = torch.device(device)
    if device.type != 'cuda':
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceError(
            f"device '{device}' was asked for, and PyTorch {torch.__version__} sees {count} CUDA "
            "devices. Use device='cpu', or a machine (and a PyTorch build) with CUDA."
        )


def check_folder_config(model: Any, folder: Path) -> None:
    """Compares a checkpoint folder's ``config.json`` with the model, where shapes cannot tell.

    Raises:
        CheckpointError: names each setting that differs.
    """
    file = folder / 'config.json'
    if not file.is_file():
        return
    stored = json.loads(file.read_text(encoding='utf-8'))
    ours = {name: getattr(model.language.config, name, None) for name in _LANGUAGE}
    ours['mm_use_im_start_end'] = model.use_im_start_end
    ours['mm_vision_select_layer'] = model.vision_tower.select_layer
    ours['mm_vision_select_feature'] = model.vision_tower.select_feature
    ours['mm_patch_merge_type'] = model.mm_patch_merge_type
    if model.image_grid_pinpoints:
        ours['image_grid_pinpoints'] = [list(p) for p in model.image_grid_pinpoints]
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
