"""Reads and completes the files next to LLaVA's weights: configs and tokenizer files."""

from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts.config_schema import read_config
from mmllava.checkpoints.storage.reader import read_json
from mmllava.checkpoints.storage.sentencepiece import sentence_pieces
from mmllava.errors import CheckpointError
from mmllava.structures import IMAGE_TOKENS

# What LLaVA v0 meant where its configs say nothing
# (haotian-liu/LLaVA at 8959d5c; its code read the last layer then).
V0_VISION = dict(
    use_mm_proj=True,
    mm_vision_tower='openai/clip-vit-large-patch14',
    mm_hidden_size=1024,
    mm_vision_select_layer=-1,
)


def vocabulary_size(folder: Path) -> int | None:
    """Pieces of the folder's ``tokenizer.model``, added tokens not counted."""
    file = folder / 'tokenizer.model'
    return len(sentence_pieces(file)) if file.is_file() else None


def special_ids(folder: Path, rows: int) -> dict[str, int]:
    """Ids of the begin, end and padding token, as the tokenizer files say.

    Args:
        folder: holds tokenizer files.
        rows: of the embedding; a token beyond them (the [PAD] of 13B-delta-v0 is
            one) has no embedding and is left out.

    Returns:
        ``bos_token_id``, ``eos_token_id``, ``pad_token_id``; those that are known.
    """
    ids = token_ids(folder)
    settings = _optional(folder / 'tokenizer_config.json')
    names = {**settings, **_optional(folder / 'special_tokens_map.json')}
    found = {}
    for role in ('bos', 'eos', 'pad'):
        token = names.get(f'{role}_token')
        token = token.get('content') if isinstance(token, dict) else token
        if token in ids and ids[token] < rows:
            found[f'{role}_token_id'] = ids[token]
    return found


def token_ids(folder: Path) -> dict[str, int]:
    """Word -> id, of every word that the tokenizer files name."""
    ids: dict[str, int] = {}
    if (folder / 'tokenizer.model').is_file():
        ids.update((p, k) for k, p in enumerate(sentence_pieces(folder / 'tokenizer.model')))
    settings = _optional(folder / 'tokenizer_config.json')
    whole = _optional(folder / 'tokenizer.json').get('added_tokens', [])
    try:
        ids.update((token['content'], token['id']) for token in whole)
        ids.update(_optional(folder / 'added_tokens.json'))
        decoder = settings.get('added_tokens_decoder', {})
        ids.update((token['content'], int(number)) for number, token in decoder.items())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f'the tokenizer files in {folder} name their added tokens in a way that cannot be '
            f'read ({type(error).__name__}: {error}). Download them again.'
        ) from error
    return ids


def added_words(folder: Path) -> dict[str, int]:
    """Word -> id, of the folder's ``added_tokens.json``; ``{}`` without one.

    Raises:
        CheckpointError: an id is no number.
    """
    words = _optional(folder / 'added_tokens.json')
    odd = [word for word, number in words.items() if type(number) is not int]
    if odd:
        raise CheckpointError(
            f'{folder}/added_tokens.json gives {odd[0]!r} the id {words[odd[0]]!r}; expected a '
            'number. Download it again.'
        )
    return words


def merged_config(delta: dict[str, Any], rows: int, ids: dict[str, int]) -> dict[str, Any]:
    """Makes the result's config: the delta's, with what is known to be wrong put right.

    The delta-v0 and Lightning-v1-1 configs give 0 and 1 for the begin and end
    tokens (LLaVA issues 69 and 213); ``ids`` come from the tokenizer. v0 configs call
    themselves plain LLaMA and name no vision tower.
    """
    config = {**delta, **ids, 'vocab_size': rows, 'torch_dtype': 'float16'}
    config.pop('dtype', None)  # newer transformers' name for torch_dtype
    for key, value in V0_VISION.items():
        if config.get(key) is None:
            config[key] = value
    if 'llava' not in str(config.get('model_type')):
        config['model_type'] = 'llava'
        config['architectures'] = ['LlavaLlamaForCausalLM']
    return config


def uses_start_end(folder: Path, rows: int) -> bool:
    """Tells whether a delta whose config does not say so was trained with tokens around images.

    LLaVA added the two words where it was, and only there: its chat models have them, and
    v0 for ScienceQA does not.

    Args:
        folder: of the delta, with its tokenizer files.
        rows: of its embedding.

    Raises:
        CheckpointError: the tokenizer does not name every row, so it cannot tell.
    """
    ids = {word: number for word, number in token_ids(folder).items() if number < rows}
    had = [word for word in IMAGE_TOKENS if word in ids]
    if len(had) == len(IMAGE_TOKENS):
        return True
    if had or len({*ids.values()}) < rows:
        raise CheckpointError(
            f'{folder}/config.json does not say mm_use_im_start_end, and the tokenizer files '
            f'there name {len({*ids.values()})} of {rows} words, of {" and ".join(IMAGE_TOKENS)} '
            f'{had[0] if had else "neither"}. Put the tokenizer files of the delta beside it, or '
            'add "mm_use_im_start_end": true to its config.json where it was trained with the '
            'two around images, as v0 and v1-1 were for chat; false for ScienceQA.'
        )
    return False


def merged_generation_config(folder: Path, ids: dict[str, int], rows: int) -> dict[str, Any]:
    """Makes the result's generation config: the delta's if it has one, ids put right.

    An id of another program's padded vocabulary is left out.
    """
    config = _optional(folder / 'generation_config.json')
    beyond = [k for k, v in config.items() if k.endswith('_token_id') and _is_beyond(v, rows)]
    return {**{k: v for k, v in config.items() if k not in beyond}, **ids}


def _is_beyond(value: Any, rows: int) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(isinstance(k, int) and k >= rows for k in values)


def tower_config(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Describes a CLIP tower: sizes from its tensors, the rest from its config.

    Args:
        folder: holds the tower's ``config.json``, a CLIPModel's or CLIPVisionModel's.
        shapes: of the tensors under ``vision_model.``.

    Raises:
        CheckpointError: if the config is missing or contradicts the tensors.
    """
    config = read_config(folder)
    stored = config.get('vision_config', config)
    if not stored:
        raise CheckpointError(
            f'{folder} has no config.json; the number of attention heads stands only there. '
            "Put the vision tower's config.json beside its weights."
        )
    return describe_tower(stored, shapes, folder)


def describe_tower(
    stored: dict[str, Any], shapes: dict[str, tuple[int, ...]], folder: Path
) -> dict[str, Any]:
    """``tower_config`` where the config is read already; ``folder`` is for the messages."""
    prefix = 'vision_model.'
    try:
        width, _, patch, _ = shapes[f'{prefix}embeddings.patch_embedding.weight']
        positions = shapes[f'{prefix}embeddings.position_embedding.weight'][0]
        between = shapes[f'{prefix}encoder.layers.0.mlp.fc1.weight'][0]
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(
            f'the vision tower in {folder} has no usable {error}; expected a CLIP model in '
            'Hugging Face layout.'
        ) from error
    layers = {name.split('.')[3] for name in shapes if name.startswith(f'{prefix}encoder.layers.')}
    made = dict(
        hidden_size=width,
        intermediate_size=between,
        num_hidden_layers=len(layers),
        patch_size=patch,
        image_size=round((positions - 1) ** 0.5) * patch,
    )
    wrong = {key: stored[key] for key in made if key in stored and stored[key] != made[key]}
    if wrong:
        raise CheckpointError(
            f'the config of the vision tower in {folder} says {wrong}, its tensors '
            f'{ {key: made[key] for key in wrong} }. Put the config that belongs to them there.'
        )
    # What transformers' CLIPVisionConfig takes where a config says nothing.
    defaults = dict(num_attention_heads=12, hidden_act='quick_gelu', layer_norm_eps=1e-5)
    chosen = {key: stored[key] for key in defaults if stored.get(key) is not None}
    return made | defaults | chosen


def read_files(source: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Reads those of the named files that exist; follows links, as a hub's cache has."""
    return {name: (source / name).read_bytes() for name in names if (source / name).is_file()}


def _optional(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}
