"""Is this base plain LLaMA, and is this delta a delta? Refused only where sure.

Vicuna 1.1 and 1.3 have LLaMA's shapes, its vocabulary and (nearly) its values:
where their config does not give them away, they cannot be told from LLaMA here.
"""

import re
from typing import Any

import numpy as np

from mmllava.checkpoints.layouts.delta import EMBED
from mmllava.checkpoints.layouts.tensor_plan import FLOATS, Entries
from mmllava.checkpoints.storage.tensor_entry import DTYPES, TensorEntry, map_tensor
from mmllava.errors import CheckpointError

NORM = 'model.norm.weight'
# Training moves the last norm's weights by a few percent; a whole model's are as large
# as LLaMA's own. The factor between the two leaves no middle ground to be wrong in.
MAX_DELTA_RATIO = 0.5
LLAMA_WORDS = 32000
# Mean size of a last norm's values: 1.5 to 2 in LLaMA, a few hundredths in a published delta.
LEAST_NORM = 0.3
# What the publishers' configs record of themselves, as in lmsys/vicuna-7b-v1.5.
_PUBLISHED = re.compile(r'(lmsys/)?vicuna-\d+b(-delta)?(-v[\d.]+(-16k)?)?')


def check_configs(base: dict[str, Any], delta: dict[str, Any]) -> None:
    """Refuses a base whose ``config.json`` says that it is not LLaMA-1.

    Raises:
        CheckpointError: for LLaVA, Llama-2 and what is built on it, and Vicuna.
    """
    advice = 'Use the LLaMA-1 weights that the delta was made from, such as huggyllama/llama-7b.'
    kind = ' '.join([str(base.get('model_type', '')), *map(str, base.get('architectures') or [])])
    if 'llava' in kind.lower() or 'mm_vision_tower' in base:
        raise CheckpointError(f'the base says of itself that it is LLaVA ({kind}). {advice}')
    name = str(base.get('_name_or_path', '')).rstrip('/')
    if _PUBLISHED.fullmatch(name):
        raise CheckpointError(
            f'the base says of itself that it is {name}: Vicuna, LLaMA with its own delta '
            f'merged already. {advice}'
        )
    hidden, eps = base.get('hidden_size'), base.get('rms_norm_eps')
    if hidden in (4096, 5120) and eps == 1e-5:  # LLaMA-1 of these sizes: 1e-6
        raise CheckpointError(
            f'the base has rms_norm_eps {eps} and a context of '
            f'{base.get("max_position_embeddings")}: Llama-2, or a model built on it such as '
            f'Vicuna 1.5; LLaMA-1 has 1e-06 and 2048. {advice}'
        )
    for key in ('num_attention_heads', 'intermediate_size', 'num_hidden_layers'):
        if key in base and key in delta and base[key] != delta[key]:
            raise CheckpointError(
                f'{key} is {base[key]} in the config of the base but {delta[key]} in that of '
                f'the delta. {advice}'
            )


def check_vocabulary(base: Entries, words: int | None) -> None:
    """Refuses a base with other words than those that LLaMA has.

    Args:
        base: the base's entries.
        words: pieces in the delta's ``tokenizer.model``, which are LLaMA's own words;
            None where there is no such file.
    """
    rows, hidden = base[EMBED].shape
    if words is None and hidden in (4096, 5120, 6656, 8192):
        words = LLAMA_WORDS
    if words is not None and rows != words:
        what = 'has words added to it (Vicuna v0 has one)' if rows > words else 'lacks words'
        raise CheckpointError(
            f'the base has {rows} words but LLaMA has {words}: it {what}. '
            'Use plain LLaMA, not a model that was trained further.'
        )


def check_values(base: Entries, delta: Entries) -> None:
    """Refuses a 'delta' whose values are as large as whole weights.

    Reads one small tensor of each, ``model.norm.weight``.
    """
    if not all(NORM in entries and entries[NORM].dtype in FLOATS for entries in (base, delta)):
        return
    whole = float(np.linalg.norm(as_float(base[NORM])))
    change = float(np.linalg.norm(as_float(delta[NORM])))
    if change > MAX_DELTA_RATIO * whole > 0:
        raise CheckpointError(
            f'{NORM} of the delta is as large as {change / whole:.2f} times that of the base; a '
            'delta holds small differences (below 0.5). This is a whole model, merged already: '
            'use it as it is, or check the order: base first, delta second.'
        )


def is_difference(norm: TensorEntry) -> tuple[bool, float]:
    """Tells a delta from a model by its last norm; gives (is a delta, mean size of its values).

    Raises:
        CheckpointError: if the norm holds no floating point numbers.
    """
    if norm.dtype not in FLOATS or not norm.nbytes:
        raise CheckpointError(
            f'{norm.name} is {norm.dtype} of shape {list(norm.shape)}; expected '
            f'{", ".join(FLOATS)}. Quantised weights cannot be read here: use the float16 '
            'checkpoint.'
        )
    size = float(np.abs(as_float(norm)).mean())
    return size < LEAST_NORM, size


def as_float(entry: TensorEntry) -> np.ndarray:
    """Reads a tensor as float32; float64 loses digits."""
    values = map_tensor(entry)
    if entry.dtype == 'bfloat16':  # the upper half of a float32's bits
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(DTYPES['float32'])
