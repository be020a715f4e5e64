"""A model -> the config.json of its folder, as LLaVA's authors write it.

The other way is `mmllava.models.detect`.
"""

from typing import Any

from mmllava.checkpoints.storage.hub import is_hub_id
from mmllava.models.hf_config import plain_rope

_NAMES = {  # of the language model's family -> LLaVA's (model_type, architecture)
    'llama': ('llava', 'LlavaLlamaForCausalLM'),
    'mistral': ('llava_mistral', 'LlavaMistralForCausalLM'),
}
_LANGUAGE = (
    *('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers'),
    *('num_attention_heads', 'num_key_value_heads', 'max_position_embeddings', 'rms_norm_eps'),
    *('rope_theta', 'rope_scaling', 'hidden_act', 'attention_bias', 'initializer_range'),
)
_TOWER = (
    *('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'),
    *('image_size', 'patch_size', 'hidden_act', 'layer_norm_eps'),
)


def to_llava_config(model: Any, aspect: str | None) -> dict[str, Any]:
    """What ``config.json`` says of a model.

    ``mmllava_template`` and ``mm_vision_config`` are ours: without them the template is told
    from the rest, and how many attention heads a tower of no hub has, from nothing.

    Args:
        model: a `Llava`.
        aspect: how its pictures are made square, or ``anyres``; None where that is not known.
    """
    lm, tower = model.language.lm, model.vision_tower
    stored = plain_rope(lm.config.to_dict())
    kind, architecture = _NAMES[lm.config.model_type]
    tokenizer = model.tokenizer
    depth = model.projector.depth
    card = {name: stored[name] for name in _LANGUAGE if name in stored}
    if kind == 'llava_mistral':
        card['sliding_window'] = stored['sliding_window']
    card |= dict(
        architectures=[architecture],
        model_type=kind,
        torch_dtype=str(lm.lm_head.weight.dtype).removeprefix('torch.'),
        tie_word_embeddings=lm.config.tie_word_embeddings,
        use_cache=True,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        tokenizer_model_max_length=model.max_tokens or model.language.max_tokens,
        tokenizer_padding_side='right',
        use_mm_proj=True,
        mm_projector_type='linear' if depth == 1 else f'mlp{depth}x_gelu',
        mm_hidden_size=tower.hidden_size,
        mm_vision_config={name: getattr(tower.config, name) for name in _TOWER},
        mm_vision_select_layer=tower.select_layer,
        mm_vision_select_feature=tower.select_feature,
        mm_patch_merge_type=model.mm_patch_merge_type,
        mm_use_im_start_end=model.prompt_builder.use_im_start_end,
        mm_use_im_patch_token='<im_patch>' in model.prompt_builder.extra_tokens,
        mmllava_template=model.prompt_builder.template_name,
    )
    if tower.pretrained is not None and is_hub_id(str(tower.pretrained)):
        card['mm_vision_tower'] = str(tower.pretrained)
    if any(p.requires_grad for p in tower.parameters()):
        card['unfreeze_mm_vision_tower'] = True
    if aspect is not None:
        card['image_aspect_ratio'] = aspect
    if model.image_grid_pinpoints:
        card['image_grid_pinpoints'] = [list(pair) for pair in model.image_grid_pinpoints]
    return card
