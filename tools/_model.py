"""Opens the model that a command line names: by config and checkpoint, or by a folder alone.

NAME CHECKPOINT IMAGES   a config's name or file, and weights: `mmllava.get_model`
FOLDER IMAGES            a LLaVA folder, a hub id, or tiny: `mmllava.load`
"""

import argparse
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError, unknown_name


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `split_names` and `open_model` read."""
    parser.add_argument(
        'model', help='config (name or file), then CHECKPOINT; or a LLaVA folder, hub id, or tiny'
    )
    parser.add_argument(
        'rest',
        nargs='*',
        metavar='[CHECKPOINT] IMAGE',
        help='weight file, folder or hub id, if the model is a config; then images',
    )
    parser.add_argument('--tower', help="CLIP's folder, for a LLaVA folder that has none inside")
    parser.add_argument('--device', help='cpu, cuda, cuda:1; default: a GPU if there is one')
    parser.add_argument('--dtype', help='float32, float16, bfloat16; default: by device')


def split_names(args: argparse.Namespace) -> None:
    """Sets ``args.checkpoint`` (None for a folder) and ``args.images`` from what was named.

    Raises:
        ConfigError: no such config, folder or name; a config without a checkpoint.
    """
    import mmllava
    from mmllava.apis.load import TINY
    from mmllava.checkpoints.storage.hub import is_hub_id

    name, args.checkpoint, args.images = args.model, None, args.rest
    if name.endswith('.py') and not Path(name).is_file():
        raise ConfigError(f'no config file at {name}; configs/llava/README.md lists ours.')
    if name.endswith('.py') or name.lower() in mmllava.list_models():
        if not args.rest:
            raise ConfigError(f'{name} is a config, and needs a CHECKPOINT after it.')
        if args.tower:
            raise ConfigError(f'--tower goes with a LLaVA folder; {name} names its tower itself.')
        args.checkpoint, *args.images = args.rest
    elif not (name == TINY or Path(name).exists() or is_hub_id(name)):
        raise unknown_name('model', name, [TINY, *mmllava.list_models('llava')])


def open_model(args: argparse.Namespace, task: str, options: dict[str, Any]) -> Any:
    """Builds the model, with its weights.

    Args:
        args: of `add_model_arguments`, after `split_names`.
        task: of a folder's model: ``caption``, ``vqa`` or ``chat``; a config has its own.
        options: settings of the model.
    """
    import torch

    import mmllava

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    options = options | (dict(dtype=args.dtype) if args.dtype else {})
    if args.checkpoint is None:
        return mmllava.load(args.model, task, tower=args.tower, device=device, **options)
    return mmllava.get_model(args.model, pretrained=args.checkpoint, device=device, **options)
