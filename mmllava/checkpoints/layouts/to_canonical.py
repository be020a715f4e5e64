"""A checkpoint of any layout -> a plan of the same model under the original's names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts import hf_config, llava_files, mmpretrain_vit
from mmllava.checkpoints.layouts.config_schema import read_config
from mmllava.checkpoints.layouts.delta import (
    EMBED,
    check_configs,
    check_values,
    check_vocabulary,
    plan_merge,
)
from mmllava.checkpoints.layouts.identify import (
    LAYOUTS,
    ON_A_BASE,
    kind_of,
    read_weights,
)
from mmllava.checkpoints.layouts.keymaps import (
    DROPPED,
    KNOWN,
    PREFIXES,
    find_original,
    is_linear,
)
from mmllava.checkpoints.layouts.lora import merge_adapter, merge_projector, read_trained
from mmllava.checkpoints.layouts.partial import named_entries, read_partial
from mmllava.checkpoints.layouts.tensor_plan import (
    TensorPlan,
    copy,
    drop,
    entry_rows,
    passthrough,
    preview,
)
from mmllava.checkpoints.layouts.tied import is_tied, says_tied, tie_head
from mmllava.checkpoints.layouts.validate import check_model
from mmllava.checkpoints.storage.hub import TOKENIZER_FILES
from mmllava.checkpoints.storage.tensor_entry import TensorEntry
from mmllava.errors import CheckpointError, unknown_name
from mmllava.structures import IMAGE_TOKENS

HEAD = 'lm_head.weight'


@dataclass(frozen=True)
class Source:
    """A checkpoint as it lies on disk.

    Args:
        path: file or folder.
        layout: how its tensors are named; ``reason`` says what told.
        entries: its tensors; where it is tied, the embedding is the head too.
        config: its ``config.json``; ``{}`` without one.
    """

    path: Path
    layout: str
    reason: str
    entries: Mapping[str, TensorEntry]
    config: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder with config and tokenizer."""
        return self.path if self.path.is_dir() else self.path.parent


@dataclass(frozen=True)
class Model:
    """A model under the original's names, planned and not read.

    Args:
        moves: what becomes of each tensor; dropped ones keep their source's name.
        config: as LLaVA's ``config.json`` has it; ``{}`` where no source has one.
        words: folder with the tokenizer; None where no source has one.
        added: words that the tokenizer there lacks -> ids.
        notes: what the user should know, one line each.
    """

    moves: list[TensorPlan]
    config: dict[str, Any]
    words: Path | None
    added: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def kept(self) -> dict[str, TensorPlan]:
        """Name -> move, without the dropped ones."""
        return {move.name: move for move in self.moves if move.how != 'dropped'}


def open_source(path: str | Path, layout: str | None = None) -> Source:
    """Reads headers and config, and tells the layout; ``layout`` overrides what they tell.

    Raises:
        ConfigError: unknown ``layout``.
        CheckpointError: it cannot be read, or is nothing that is known here.
    """
    path = Path(path)
    if layout is not None and layout not in LAYOUTS:
        raise unknown_name('checkpoint layout', layout, LAYOUTS)
    entries = read_weights(path)
    kind = kind_of(entries, path) if layout is None else None
    reason = kind.reason if kind else 'as told'
    layout, config = layout or kind.layout, read_config(path)
    return Source(path, layout, reason, _tied(entries, config, layout), config)


def _tied(
    entries: Mapping[str, TensorEntry], config: dict[str, Any], layout: str
) -> Mapping[str, TensorEntry]:
    """The entries with the head that they leave out."""
    if layout in ('clip', 'projector', 'lora'):
        return entries  # parts of a model: what they lack is another's
    return tie_head(entries, config, layout if layout in PREFIXES else 'original')


def to_canonical(source: Source, base: Source | None = None, partial: bool = False) -> Model:
    """Plans a source, on its base where it needs one.

    Args:
        source: of any layout but ``clip``.
        base: of a delta, a projector or an adapter; of a bare file, the folder whose config
            and tokenizer belong to it.
        partial: whether it is a base: a model without projector will do. A base is
            checked here; another model once its tower is known.

    Raises:
        CheckpointError: says what was found, what was expected and what to do.
    """
    plan = _PLANS.get(source.layout)
    if plan is None or (source.layout == 'llama' and not partial):
        raise CheckpointError(
            f'{source.path} is {LAYOUTS[source.layout]}: {source.reason} It cannot be converted '
            'by itself. Name a LLaVA, and this one by --base or --tower.'
        )
    if source.layout in ON_A_BASE and base is None:
        raise CheckpointError(
            f'{source.path} is {LAYOUTS[source.layout]}: {source.reason} It needs the model that '
            'it belongs to. Name that by --base.'
        )
    if source.layout not in ON_A_BASE and base is not None:  # whose config it is
        source = replace(source, entries=_tied(source.entries, base.config, source.layout))
    model = plan(source, base)
    if source.layout in ON_A_BASE:
        _check_words(model, source)
    elif base is not None:
        model = _describe(model, source, base)
    tied = is_tied(model.kept)
    if model.config and (tied or says_tied(model.config)):
        model = replace(model, config={**model.config, 'tie_word_embeddings': tied})
    if partial:
        check_model(model.kept, model.config, source.path, partial)
    return model


def _named(source: Source, base: Source | None) -> Model:
    """Layouts that differ in names alone."""
    layout = 'original' if source.layout == 'llama' else source.layout
    linear = is_linear(source.entries)
    names = {name: find_original(name, layout, linear) or '' for name in source.entries}
    return Model(renamed(source, names), source.config, _words(source))


def renamed(source: Source, names: Mapping[str, str]) -> list[TensorPlan]:
    """Moves that rename tensors to the original's names.

    Raises:
        CheckpointError: a name that no LLaVA has, or two tensors of one name.
    """
    moves, taken, unknown = [], {}, []
    for name, target in names.items():
        entry = source.entries[name]
        if DROPPED.search(name):
            moves.append(drop(name, entry))
        elif not KNOWN.fullmatch(target):
            unknown.append(name)
        elif target in taken:
            raise CheckpointError(
                f"tensors '{taken[target]}' and '{name}' of {source.path} both are LLaVA's "
                f"'{target}'. Two versions are mixed there; remove one of them."
            )
        else:
            taken[target] = name
            moves.append(passthrough(target, entry))
    if unknown:
        raise CheckpointError(
            f'{source.path} holds what no LLaVA has: {preview(sorted(unknown))}. Expected layout '
            f'{source.layout}: {LAYOUTS[source.layout]}. Name another layout by --from, or a '
            'checkpoint without these tensors.'
        )
    return moves


def _hf(source: Source, base: Source | None) -> Model:
    """transformers' names, with further rows for <image> and padding."""
    model = _named(source, base)
    config = hf_config.to_original(source.config, source.path) if source.config else {}
    moves = {move.name: move for move in model.moves}
    if EMBED not in moves:
        return replace(model, config=config)
    rows = hf_config.vocabulary_rows(source.config, source.folder, moves[EMBED].shape[0])
    for name in (EMBED, HEAD):
        if name in moves and rows < moves[name].shape[0]:
            entry = entry_rows(moves[name].sources[0], 0, rows)
            moves[name] = TensorPlan(name, 'cut', entry.dtype, entry.shape, (copy(entry),))
    if config:
        config['vocab_size'] = rows
    return replace(model, moves=list(moves.values()), config=config)


def _mmpretrain(source: Source, base: Source | None) -> Model:
    """mmpretrain's names; its ViT has one matrix for query, key and value."""
    moves = []
    language = {n: e for n, e in source.entries.items() if not mmpretrain_vit.is_tower(n)}
    names = {name: find_original(name, 'mmpretrain') or '' for name in language}
    moves += renamed(replace(source, entries=language), names)
    tower = {n: e for n, e in source.entries.items() if mmpretrain_vit.is_tower(n)}
    moves += mmpretrain_vit.to_canonical(tower, source.path)
    return Model(moves, source.config, _words(source))


def _delta(source: Source, base: Source | None) -> Model:
    """The difference, added to its base in float16."""
    check_configs(base.config, source.config)
    moves = plan_merge(base.entries, source.entries)
    if source.path.is_dir():
        check_vocabulary(base.entries, llava_files.vocabulary_size(source.path))
    check_values(base.entries, source.entries)
    config = source.config
    if config:
        made = {move.name: move for move in moves}
        config = _put_right(config, made, source)
        if config.get('mm_use_im_start_end') is None:
            rows = made[EMBED].shape[0]
            config['mm_use_im_start_end'] = llava_files.uses_start_end(source.folder, rows)
    return Model(moves, config, _words(source))


def _put_right(
    config: dict[str, Any], moves: Mapping[str, TensorPlan], source: Source
) -> dict[str, Any]:
    """A config with the token ids that the tokenizer beside it gives."""
    rows = moves[EMBED].shape[0]
    return llava_files.merged_config(config, rows, llava_files.special_ids(source.folder, rows))


def _projector(source: Source, base: Source | None) -> Model:
    """A projector, put onto a language model."""
    below = to_canonical(base, partial=True)
    words = below.words or _words(source)
    ids = llava_files.token_ids(words) if words else {}
    moves, config, added = merge_projector(source, below.moves, below.config, ids)
    return Model(moves, config, words, added, below.notes)


def _lora(source: Source, base: Source | None) -> Model:
    """An adapter and what was trained beside it, merged onto a base."""
    return _merged(source, read_trained(source), base, to_canonical(base, partial=True))


def _partial(source: Source, base: Source | None) -> Model:
    """Plans a checkpoint of tools/train.py: whole tensors, adapters, or both."""
    partial = read_partial(source.folder)
    below = to_canonical(base, partial=True)
    partial.check_base(named_entries(below.kept), base.path)
    adapter = replace(source, entries=partial.adapter)
    return _merged(adapter, source.entries, base, below)


def _merged(
    source: Source, trained: Mapping[str, TensorEntry], base: Source, below: Model
) -> Model:
    """Plans what was trained, adapters or whole tensors, on its base, which is planned already."""
    padded = None
    if base.layout == 'hf':
        padded = next(
            e.shape[0] for n, e in base.entries.items() if find_original(n, 'hf') == EMBED
        )
    moves, config = merge_adapter(source, trained, below.moves, below.config, padded)
    own, added, notes = _words(source), {}, below.notes
    kept = {move.name: move for move in moves if move.how != 'dropped'}
    before = next(m.shape[0] for m in below.moves if m.name == EMBED)
    rows = kept[EMBED].shape[0]
    if config and own is None:
        named = llava_files.added_words(source.folder)
        added = {w: k for w, k in named.items() if k < rows} or _new_words(config, before, rows)
        if not {*range(before, rows)} <= {*added.values()}:
            note = f'{source.path} has rows for {rows - before} more words than its base, and '
            note += 'neither a tokenizer nor its config.json tells which: they have no name.'
            notes = [*notes, note]
    if config:
        config = {**config, 'vocab_size': rows}
    return Model(moves, config, own or below.words, added, notes)


def _new_words(config: Mapping[str, Any], before: int, rows: int) -> dict[str, int]:
    """The words of a base's new rows, by the config alone; ``{}`` where it names others."""
    words = IMAGE_TOKENS if config.get('mm_use_im_start_end') else ()
    words = ('<im_patch>',) * bool(config.get('mm_use_im_patch_token')) + words
    return {w: before + k for k, w in enumerate(words)} if len(words) == rows - before else {}


def _check_words(model: Model, source: Source) -> None:
    """Refuses a model whose tokenizer lacks the words around images, or names them otherwise.

    Raises:
        CheckpointError: names the words, and what the tokenizer has.
    """
    if not model.config or model.words is None or EMBED not in model.kept:
        return
    rows, theirs = model.kept[EMBED].shape[0], llava_files.token_ids(model.words)
    named = {number: word for word, number in theirs.items()}
    for word, number in model.added.items():
        if theirs.get(word, number) != number or named.get(number, word) != word:
            other = f'{word} is {theirs[word]}' if word in theirs else f'{named[number]} is that'
            raise CheckpointError(
                f'{word} is word {number} of {source.path}, and {other} in the tokenizer of '
                f'{model.words}. Name by --base what it was trained on.'
            )
    known = {word for word, number in {**theirs, **model.added}.items() if number < rows}
    missing = [word for word in IMAGE_TOKENS if word not in known]
    if model.config.get('mm_use_im_start_end') and missing:
        raise CheckpointError(
            f'{source.path} says mm_use_im_start_end, and no file names {" and ".join(missing)} '
            f'as one of its {rows} words. Put its tokenizer files or added_tokens.json beside it, '
            'or correct config.json if it was trained without these words.'
        )


_PLANS: dict[str, Callable[[Source, Source | None], Model]] = {
    'original': _named,
    'llama': _named,
    'mmllava': _named,
    'hf': _hf,
    'mmpretrain': _mmpretrain,
    'delta': _delta,
    'projector': _projector,
    'lora': _lora,
    'partial': _partial,
}


def _words(source: Source) -> Path | None:
    """The folder of a source, where it has a tokenizer."""
    named = TOKENIZER_FILES[:2]
    if source.path.is_dir() and any((source.path / name).is_file() for name in named):
        return source.path
    return None


def _describe(model: Model, source: Source, base: Source) -> Model:
    """Takes config and tokenizer of a bare file from the folder that is named as its base."""
    if source.config:
        raise CheckpointError(
            f'{source.path} is {LAYOUTS[source.layout]}, a whole model with a config: it needs '
            f'no base, and {base.path} would not be read. Leave out --base.'
        )
    config = base.config
    if base.layout == 'hf':
        config = hf_config.to_original(config, base.path)
    if not any(key.startswith('mm_') for key in config):
        raise CheckpointError(
            f'{base.path} has no config.json of a LLaVA. Name by --base the LLaVA folder whose '
            f'config and tokenizer belong to {source.path}.'
        )
    return replace(model, config=_put_right(config, model.kept, base), words=_words(base))
