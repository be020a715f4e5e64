"""Merges LoRA adapters and bare projectors into their base."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from mmllava.checkpoints.layouts.identify import adapter_config
from mmllava.checkpoints.layouts.keymaps import DROPPED, KNOWN, is_linear, to_original
from mmllava.checkpoints.layouts.tensor_plan import (
    Piece,
    TensorPlan,
    copy,
    drop,
    entry_rows,
    join,
    passthrough,
    preview,
)
from mmllava.checkpoints.layouts.tied import EMBED as _EMBED
from mmllava.checkpoints.layouts.tied import HEAD as _HEAD
from mmllava.checkpoints.layouts.tied import is_tied, same_values, tied_to
from mmllava.checkpoints.storage.reader import read_entries
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError
from mmllava.structures import IMAGE_TOKENS

TRAINED_BESIDE = 'non_lora_trainables.bin'
# What changes the result and is not computed here: setting -> what it must be.
_PLAIN = dict(
    use_dora=False, fan_in_fan_out=False, bias='none', rank_pattern={}, alpha_pattern={},
    lora_bias=False, layer_replication=None,
)  # fmt: skip


# Ways to begin an adapter that take something away from the base's own weights.
_CHANGE_THE_BASE = ('pissa', 'olora', 'corda', 'loftq')


class _Source(Protocol):
    path: Any
    folder: Any
    entries: Mapping[str, TensorEntry]
    config: dict[str, Any]


def read_trained(source: _Source) -> dict[str, TensorEntry]:
    """Reads the tensors that LLaVA's training saves next to an adapter; ``{}`` for other adapters.

    Raises:
        CheckpointError: LLaVA's own ``config.json`` is there, and what was trained is not.
    """
    beside = source.folder / TRAINED_BESIDE
    if beside.is_file():
        return read_entries(beside)
    llava = any(key.startswith('mm_') for key in source.config)
    if llava and not any('projector' in name for name in source.entries):
        raise CheckpointError(
            f"{source.path} has LLaVA's config.json and lacks {TRAINED_BESIDE}, the projector that "
            'LLaVA trains and writes beside every adapter. Download it; if the adapter is all '
            'that was trained, move config.json away: that of the base is taken then.'
        )
    return {}


def merge_adapter(
    source: _Source,
    extra: Mapping[str, TensorEntry],
    moves: list[TensorPlan],
    config: dict[str, Any],
    padded: int | None = None,
) -> tuple[list[TensorPlan], dict[str, Any]]:
    """Plans W + scale * (B @ A) for every adapted weight, and takes whole what was trained whole.

    Args:
        source: an adapter: its tensors, ``adapter_config.json`` where it has any, and
            ``config.json`` where it is there.
        extra: what was trained whole beside it.
        moves: of the base, by the original's names.
        config: of the base.
        padded: rows of the embedding on disk where transformers padded the base's: the
            adapter saw as many, and the same are cut from it.

    Returns:
        the moves of the result and its config; ``{}`` where neither tells of a LLaVA.

    Raises:
        CheckpointError: a setting that is not computed here, half an adapter, or one that
            does not fit the base.
    """
    settings = adapter_config(source.path, next(iter(source.entries))) if source.entries else {}
    scale = _scale(settings, source) if source.entries else 1.0
    made = {move.name: move for move in moves if move.how != 'dropped'}
    pairs, inside, beside = _sorted_by_target(source, extra)
    trained = inside | beside
    tied = is_tied(made)
    if tied:
        _check_tied(pairs, source)
        # LLaVA trains the one parameter; PEFT copies each part that it trains, unless told.
        together = {**beside, **(inside if settings.get('ensure_weight_tying') else {})}
        own = trained.get(_HEAD)  # PEFT may save the one parameter by both names
        if _EMBED in together and (own is None or same_values(own, trained[_EMBED])):
            trained[_HEAD] = trained[_EMBED]
    if padded is not None:
        _cut_padding(pairs, trained, padded, made[_EMBED].shape[0], source)
    config = {**config, **source.config}
    config = config if any(key.startswith('mm_') for key in config) else {}
    rest = [move for move in moves if move.how == 'dropped']
    for name, entry in trained.items():
        if DROPPED.search(name):
            rest.append(drop(name, entry))
        else:
            made[name] = passthrough(name, entry, made[name].dtype if name in made else None)
    for name, pair in pairs.items():
        if 'A' in pair and pair['A'].shape[:1] != (settings['r'],):
            raise CheckpointError(
                f'adapter_config.json of {source.path} says r={settings["r"]}, and lora_A of '
                f'{name} is {list(pair["A"].shape)}. Files of two runs are mixed there; get them '
                'together again.'
            )
        made[name] = _adapted(name, pair, made.get(name), scale, source)
    return [*made.values(), *rest], config


def _sorted_by_target(
    source: _Source, extra: Mapping[str, TensorEntry]
) -> tuple[dict[str, dict[str, TensorEntry]], dict[str, TensorEntry], dict[str, TensorEntry]]:
    """Gives target -> its A and B, and what was trained whole, in the adapter and beside it.

    By the original's names.

    Raises:
        CheckpointError: a name that no LLaVA has, or one weight trained whole twice.
    """
    linear = is_linear([*source.entries, *extra])
    pairs: dict[str, dict[str, TensorEntry]] = {}
    trained: dict[str, TensorEntry] = {}
    for name, entry in source.entries.items():
        match = re.fullmatch(r'(.+)\.lora_([AB])(\.\w+)?\.weight', name)
        if match:
            target = _original(f'{match[1]}.weight', linear, source)
            pairs.setdefault(target, {})[match[2]] = entry
        else:
            trained[_original(name, linear, source)] = entry
    extra = {_original(name, linear, source): entry for name, entry in extra.items()}
    twice = sorted(extra.keys() & trained.keys())
    if twice:
        raise CheckpointError(
            f'{source.path} holds {preview(twice)} in the adapter and in '
            f'{extra[twice[0]].file.name}. Two versions are mixed there; remove one of them.'
        )
    return pairs, trained, extra


def _check_tied(pairs: Mapping[str, Any], source: _Source) -> None:
    """Refuses an adapter on a tied head: it learned on one of two parts that are one tensor.

    PEFT, which adds it to that tensor, gives another model than the one that was trained.
    """
    if _HEAD in pairs:
        raise CheckpointError(
            f"{source.path} has an adapter on {_HEAD}, and the base's head is tied to "
            f'{_EMBED}: added there, it would change the embedding too, which it was not trained '
            'with. Untie the base first: write lm_head.weight, a copy of the embedding, into its '
            'weights and "tie_word_embeddings": false into its config.json; then name that by '
            '--base.'
        )


def _cut_padding(
    pairs: dict[str, dict[str, TensorEntry]],
    trained: dict[str, TensorEntry],
    padded: int,
    rows: int,
    source: _Source,
) -> None:
    """Takes the rows that LLaVA has of what was trained on a padded vocabulary, in place.

    Raises:
        CheckpointError: it has as many rows as neither.
    """
    for name in (_EMBED, _HEAD):
        for held, key in ((trained, name), (pairs.get(name, {}), 'B')):
            entry = held.get(key)
            if entry is None or entry.shape[:1] == (rows,):
                continue
            if entry.shape[:1] != (padded,):
                raise CheckpointError(
                    f'{entry.name} of {source.path} is {list(entry.shape)}; expected {padded} '
                    f'rows as in the base, or {rows} without its <image> and padding. Rows for '
                    'new words after <image> have no place in LLaVA: train without them, or keep '
                    'transformers for this model.'
                )
            held[key] = entry_rows(entry, 0, rows)


def _scale(settings: Mapping[str, Any], source: _Source) -> float:
    """alpha / rank, as PEFT counts it; refuses what is not computed here."""
    kind = str(settings.get('peft_type', 'LORA')).rpartition('.')[2]
    odd = {k: settings[k] for k, v in _PLAIN.items() if settings.get(k, v) not in (v, None)}
    begun = settings.get('init_lora_weights')
    if isinstance(begun, str) and begun.lower().startswith(_CHANGE_THE_BASE):
        odd['init_lora_weights'] = begun
    if kind != 'LORA' or odd:
        raise CheckpointError(
            f'the adapter in {source.path} is {kind} with {odd or "other weights than A and B"}; '
            'plain LoRA is merged here. Merge it with the peft that made it, then convert that.'
        )
    rank, alpha = settings.get('r'), settings.get('lora_alpha')
    if not (isinstance(rank, int) and rank > 0 and isinstance(alpha, (int, float))):
        raise CheckpointError(
            f'adapter_config.json of {source.path} says r={rank!r}, lora_alpha={alpha!r}; expected '
            'two numbers. Download it again.'
        )
    return alpha / (rank**0.5 if settings.get('use_rslora') else rank)


def _original(name: str, linear: bool, source: _Source) -> str:
    """The original's name of what an adapter names, whatever model it wraps."""
    if '.lora_embedding_' in name:
        raise CheckpointError(
            f'{source.path} holds {name}, an adapter on the token embedding; those of linear '
            'layers are merged here. Merge it with peft (merge_and_unload, save_pretrained), then '
            'convert that.'
        )
    bare = name
    while bare.startswith(('base_model.', 'model.model.')):
        bare = bare.removeprefix('base_model.' if bare.startswith('base_model.') else 'model.')
    bare = re.sub(r'\.(base_layer|modules_to_save(\.\w+)?|default)(?=\.)', '', bare)
    for candidate in (bare, bare.removeprefix('model.')):
        for layout in ('original', 'mmllava', 'hf'):
            found = to_original(candidate, layout, linear)
            if KNOWN.fullmatch(found) or DROPPED.search(found):
                return found
    raise CheckpointError(
        f'{source.path} holds {name}, which is no weight of a LLaVA. The adapter belongs to '
        'another kind of model.'
    )


def _adapted(
    name: str,
    pair: Mapping[str, TensorEntry],
    move: TensorPlan | None,
    scale: float,
    source: _Source,
) -> TensorPlan:
    """The move of one adapted weight."""
    advice = f'{source.path} belongs to another base. Name the one that it was trained on.'
    if move is None or move.how not in ('whole', 'cut'):
        raise CheckpointError(f'the adapter changes {name}, which the base lacks. {advice}')
    if set(pair) != {'A', 'B'}:
        raise CheckpointError(
            f'{source.path} has only lora_{next(iter(pair))} of {name}. The adapter is '
            'incomplete; download it again.'
        )
    a, b = pair['A'], pair['B']
    fits = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1]
    if not fits or (b.shape[0], a.shape[1]) != move.shape:
        raise CheckpointError(
            f'{name} is {list(move.shape)} in the base, and the adapter has A {list(a.shape)} and '
            f'B {list(b.shape)}. {advice}'
        )
    part = Piece('lora', (move.sources[0], a, b), move.shape, scale)
    return TensorPlan(name, 'lora', move.dtype, move.shape, (part,))


def merge_projector(
    source: _Source, moves: list[TensorPlan], config: dict[str, Any], ids: Mapping[str, int]
) -> tuple[list[TensorPlan], dict[str, Any], dict[str, int]]:
    """Puts a projector onto a language model, and the rows of start and end words if it has them.

    Args:
        source: ``mm_projector.bin`` or its folder; with ``embed_tokens.weight`` whole, or
            only the two rows of ``<im_start>`` and ``<im_end>``.
        moves: of the base, by the original's names.
        config: of the base.
        ids: of the words that the base's tokenizer names.

    Returns:
        the moves of the result, its config, and the start and end words with their ids.

    Raises:
        CheckpointError: an unknown tensor, or rows that do not fit the base.
    """
    made = {m.name: m for m in moves if not m.name.startswith('model.mm_projector.')}
    tied = is_tied(made)
    projector, rows = _split_projector(source)
    made |= {name: passthrough(name, entry) for name, entry in projector.items()}
    added: dict[str, int] = {}
    unused: list[TensorPlan] = []
    if rows is not None and source.config.get('mm_use_im_start_end') is False:
        unused, rows = [drop(rows.name, rows)], None  # no words stood around images
    if rows is not None:
        added = _add_words(made, rows, source, ids)
        if tied:
            made[_HEAD] = tied_to(made[_EMBED])
    settings = {k: v for k, v in source.config.items() if k.startswith(('mm_', 'image_'))}
    linear = is_linear(projector)
    defaults = dict(
        use_mm_proj=True,
        mm_projector_type='linear' if linear else 'mlp2x_gelu',
        mm_use_im_start_end=rows is not None,
        mm_use_im_patch_token=False,
        mm_vision_select_layer=-2,
        mm_vision_select_feature='patch',
        mm_hidden_size=next((e.shape[1] for e in projector.values() if len(e.shape) == 2), None),
        model_type='llava',
        architectures=['LlavaLlamaForCausalLM'],
    )
    if config:
        own = {k: v for k, v in config.items() if k not in ('model_type', 'architectures')}
        config = {**defaults, **own, **settings, 'vocab_size': made[_EMBED].shape[0]}
        if rows is not None:  # whatever the base was trained with
            config['mm_use_im_start_end'] = True
    return [*made.values(), *unused], config, added


def _split_projector(source: _Source) -> tuple[dict[str, TensorEntry], TensorEntry | None]:
    """Sorts a projector file into (parts by the original's names, embedding rows or None).

    Raises:
        CheckpointError: an unknown tensor.
    """
    projector: dict[str, TensorEntry] = {}
    rows: TensorEntry | None = None
    for name, entry in source.entries.items():
        if name.endswith('embed_tokens.weight'):
            rows = entry
            continue
        tail = name.rpartition('mm_projector.')[2]
        target = f'model.mm_projector.{tail}' if 'mm_projector.' in name else f'model.{name}'
        target = 'model.image_newline' if name.endswith('image_newline') else target
        if not KNOWN.fullmatch(target):
            raise CheckpointError(
                f'{source.path} holds {name}, which is no part of a projector. Expected '
                'mm_projector.*, and embed_tokens.weight with start and end words.'
            )
        projector[target] = entry
    return projector, rows


def _add_words(
    made: dict[str, TensorPlan], rows: TensorEntry, source: _Source, ids: Mapping[str, int]
) -> dict[str, int]:
    """Takes the rows of the start and end words: in the place of the base's, or as the last two.

    New rows of the output matrix are the mean of the others.
    """
    embed, head = made[_EMBED], made[_HEAD]
    base, count = embed.shape[0], rows.shape[0]
    possible = count in (2, base) or count >= base + 2
    if len(rows.shape) != 2 or rows.shape[1:] != embed.shape[1:] or not possible:
        one = ' One row is that of a start or an end word alone, and LLaVA trains both.'
        raise CheckpointError(
            f'embed_tokens.weight of {source.path} is {list(rows.shape)}; expected the 2 rows of '
            f'{" and ".join(IMAGE_TOKENS)}, or {base} or at least {base + 2}, with those of the '
            f'base, {embed.shape[1]} wide.{one * (count in (1, base + 1))} Name the base that '
            'the projector was trained on, or get the projector again.'
        )
    first, second = (ids.get(word, base) for word in IMAGE_TOKENS)
    old = embed.sources[0]
    if count == base or (count == 2 and first + 1 == second < base):
        at = first if first + 1 == second < base else base - 2
        start = at if count == base else 0
        parts = (
            copy(entry_rows(old, 0, at)),
            copy(entry_rows(rows, start, start + 2)),
            copy(entry_rows(old, at + 2, base)),
        )
        parts = tuple(part for part in parts if part.shape[0])
        made[_EMBED] = TensorPlan(_EMBED, 'joined', embed.dtype, embed.shape, parts)
        return {word: at + k for k, word in enumerate(IMAGE_TOKENS)}
    total = max(count, base + 2)
    new = entry_rows(rows, count - (total - base), count)
    made[_EMBED] = TensorPlan(
        _EMBED, 'grown', embed.dtype, (total, *embed.shape[1:]), (copy(old), copy(new))
    )
    matrix = head.sources[0]
    mean = Piece('mean', (matrix,), (1, *head.shape[1:]))
    parts = join((copy(matrix), *(mean,) * (total - base)))
    made[_HEAD] = TensorPlan(_HEAD, 'grown', head.dtype, (total, *head.shape[1:]), parts)
    return {word: total - 2 + k for k, word in enumerate(IMAGE_TOKENS)}
