"""Wraps the CLIP vision tower, up to the hidden state that LLaVA reads."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from mmllava.checkpoints.layouts.config_schema import check_config
from mmllava.compat import inner_vision_model, run_vision_block
from mmllava.errors import ConfigError, ShapeError, unknown_name
from mmllava.models.hf_config import pick_sizes, read_config
from mmllava.registry import MODELS

_SIZES = (
    'hidden_size',
    'intermediate_size',
    'num_hidden_layers',
    'num_attention_heads',
    'image_size',
    'patch_size',
)
_OPTIONAL = ('hidden_act', 'layer_norm_eps')


@MODELS.register_module()
class CLIPVisionTower(nn.Module):
    """A CLIP ViT up to one of its hidden states.

    Blocks after the selected state keep their weights and do not run. The layer
    norm after the last block is never used, and is left out.

    Args:
        name_or_path: local folder or hub id whose ``config.json`` gives the
            sizes, in place of the sizes below.
        pretrained: where the weights are if the checkpoint has none of its
            own; ``name_or_path`` if None.
        select_layer: index of the hidden state, counted as transformers does (0 is
            the embeddings). LLaVA's is -2: all blocks but the last.
        select_feature: ``patch`` drops the class token, ``cls_patch`` keeps it.
        sizes: ``hidden_size``, ``intermediate_size``, ``num_hidden_layers``,
            ``num_attention_heads``, ``image_size``, ``patch_size``,
            and ``hidden_act`` (quick_gelu), ``layer_norm_eps`` (1e-5).

    Shape:
        input ``(P, 3, S, S)``: P images or tiles of ``image_size`` S;
        output ``(P, N, D)``: N patches of D channels.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = None,
        pretrained: str | Path | None = None,
        select_layer: int = -2,
        select_feature: str = 'patch',
        **sizes: Any,
    ) -> None:
        super().__init__()
        for name in sizes:
            if name not in (*_SIZES, *_OPTIONAL):
                raise unknown_name('setting of CLIPVisionTower', name, (*_SIZES, *_OPTIONAL))
        if select_feature not in ('patch', 'cls_patch'):
            raise unknown_name('select_feature', select_feature, ('patch', 'cls_patch'))
        self.pretrained = pretrained or name_or_path
        self.config = config = CLIPVisionConfig(**_sizes(name_or_path, sizes))
        depth = config.num_hidden_layers
        self.num_read = select_layer + depth + 1 if select_layer < 0 else select_layer
        if not 0 <= self.num_read <= depth:
            raise ConfigError(
                f'select_layer={select_layer} is outside a tower of {depth} blocks; LLaVA reads -2.'
            )
        self.select_layer, self.select_feature = select_layer, select_feature
        self.image_size, self.hidden_size = config.image_size, config.hidden_size
        self.num_patches = (config.image_size // config.patch_size) ** 2
        clip = inner_vision_model(CLIPVisionModel(config))
        self.embeddings, self.pre_layrnorm = clip.embeddings, clip.pre_layrnorm
        self.layers = clip.encoder.layers

    def rebuild_buffers(self) -> None:
        """Recreates non-parameter buffers after construction on the meta device."""
        positions = torch.arange(self.num_patches + 1, device='cpu')
        self.embeddings.position_ids = positions.expand((1, -1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Extracts features ``(P, N, D)`` from normalised images ``(P, 3, S, S)``."""
        side = self.image_size
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, side, side):
            raise ShapeError(
                f'the vision tower got pixels {tuple(pixels.shape)}, expected (P, 3, {side}, '
                f'{side}). Set size={side} in the pipeline.'
            )
        hidden = self.pre_layrnorm(self.embeddings(pixels))  # (P, 1 + N, D)
        for block in self.layers[: self.num_read]:
            hidden = run_vision_block(block, hidden)
        return hidden[:, 1:] if self.select_feature == 'patch' else hidden


def _sizes(name_or_path: str | Path | None, own: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    if name_or_path is not None:
        config = read_config(name_or_path)
        config = config.get('vision_config', config)  # a whole CLIP has the tower's inside
        read = {k: config[k] for k in (*_SIZES, *_OPTIONAL) if config.get(k) is not None}
    sizes = pick_sizes('CLIPVisionTower', own, read, _SIZES)
    check_config(sizes, 'CLIPVisionTower', ConfigError)
    return sizes
