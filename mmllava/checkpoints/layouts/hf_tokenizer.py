"""The authors' tokenizer.model as a tokenizer.json, for transformers' processor.

transformers writes the image as many <image> words into the text and gives all of it to
the tokenizer at once; LLaVA gives it the text before and after the image one by one. So
that both give the same ids, every text between special words gets a space of its own here,
as LLaVA's do. The format is that of the tokenizers library.
"""

import json
from pathlib import Path
from typing import Any

from mmllava.checkpoints.layouts import llava_files
from mmllava.checkpoints.layouts.hf_config import NEW_WORDS
from mmllava.checkpoints.storage import sentencepiece
from mmllava.checkpoints.storage.hub import TOKENIZER_FILES
from mmllava.errors import CheckpointError

SPACE = '\u2581'  # how sentencepiece writes a space inside a piece
_BPE = 2  # trainer_spec.model_type in sentencepiece_model.proto
_DEFAULTS = dict(bos_token='<s>', eos_token='</s>', unk_token='<unk>')


def tokenizer_files(folder: Path, rows: int, processor: str) -> dict[str, bytes]:
    """The tokenizer of a model in transformers' layout: name -> content.

    Args:
        folder: with LLaVA's tokenizer files.
        rows: of LLaVA's vocabulary; ``<image>`` and ``<pad>`` come next.
        processor: name of transformers' processor class.

    Raises:
        CheckpointError: a tokenizer that cannot be written so, or has words beyond ``rows``.
    """
    settings = _optional(folder / 'tokenizer_config.json')
    names = {**settings, **_optional(folder / 'special_tokens_map.json')}
    special = {role: _word(names.get(role)) or word for role, word in _DEFAULTS.items()}
    new = {word: rows + k for k, word in enumerate(NEW_WORDS)}
    ids = llava_files.token_ids(folder)
    ids = {word: k for word, k in ids.items() if new.get(word) != k}  # transformers' own already
    beyond = sorted(word for word, k in ids.items() if k >= rows)
    if beyond:
        raise CheckpointError(
            f'the tokenizer in {folder} has {beyond[0]!r} with id {ids[beyond[0]]}, and the model '
            f'has {rows} rows. Put the tokenizer that belongs to the model beside it.'
        )
    taken = [word for word in new if word in ids]
    if taken:
        raise CheckpointError(
            f'the tokenizer in {folder} has {taken[0]} already, as id {ids[taken[0]]}. Use the '
            "tokenizer of LLaVA's own checkpoint."
        )
    if (folder / 'tokenizer.model').is_file():
        made = _from_pieces(folder / 'tokenizer.model', settings, special)
        uncut = sentencepiece.whole_words(folder / 'tokenizer.model')
    else:
        made, uncut = llava_files.read_json(folder / 'tokenizer.json'), []
    known = {t['content']: t for t in made.get('added_tokens', [])}
    count = len(made['model']['vocab'])
    words = {w: k for w, k in ids.items() if k >= count or w in {*special.values(), *uncut}} | new
    words |= {t['content']: int(k) for k, t in settings.get('added_tokens_decoder', {}).items()}
    tokens = [known.get(w) or _added(w, k) for w, k in sorted(words.items(), key=lambda i: i[1])]
    made['added_tokens'] = tokens
    config = dict(
        special,
        tokenizer_class='PreTrainedTokenizerFast',
        processor_class=processor,
        pad_token=NEW_WORDS[1],
        image_token=NEW_WORDS[0],
        extra_special_tokens=dict(image_token=NEW_WORDS[0]),
        model_max_length=settings.get('model_max_length', 2048),
        padding_side='left',
        model_input_names=['input_ids', 'attention_mask'],
        clean_up_tokenization_spaces=False,
        added_tokens_decoder={
            str(t['id']): {k: v for k, v in t.items() if k != 'id'} for t in tokens
        },
    )
    files = llava_files.read_files(folder, ('tokenizer.model',))
    files['tokenizer.json'] = json.dumps(made, ensure_ascii=False).encode()
    files['tokenizer_config.json'] = _text(config)
    files['special_tokens_map.json'] = _text({**special, 'pad_token': NEW_WORDS[1]})
    return files


def plain_files(folder: Path, added: dict[str, int], rows: int) -> dict[str, bytes]:
    """The tokenizer of a model in LLaVA's layouts: name -> content.

    Args:
        folder: with tokenizer files, LLaVA's or transformers'.
        added: words that they lack -> ids.
        rows: of the vocabulary; words beyond are transformers' ``<image>`` and ``<pad>``.
    """
    files = llava_files.read_files(folder, TOKENIZER_FILES)
    settings = _optional(folder / 'tokenizer_config.json')
    theirs = 'processor_class' in settings or NEW_WORDS[0] in llava_files.token_ids(folder)
    if not (theirs or added):
        return files
    if theirs:
        ids = llava_files.token_ids(folder)
        count = llava_files.vocabulary_size(folder)
        words = {w: k for w, k in ids.items() if k < rows and (count is None or k >= count)}
        kept = ('bos_token', 'eos_token', 'unk_token', 'model_max_length', 'add_bos_token')
        settings = {k: settings[k] for k in kept if k in settings}
        settings |= dict(tokenizer_class='LlamaTokenizer', padding_side='right')
        settings['pad_token'] = settings.get('unk_token', '<unk>')
        if count is not None:  # tokenizer.json holds <image> and <pad>
            files.pop('tokenizer.json', None)
        files.pop('special_tokens_map.json', None)
        files['tokenizer_config.json'] = _text(settings)
        files.pop('added_tokens.json', None)
        added = words | added if count is not None else added
    if added:
        old = json.loads(files.get('added_tokens.json', b'{}'))
        files['added_tokens.json'] = _text({**old, **added})
    return files


def _from_pieces(file: Path, settings: dict[str, Any], special: dict[str, str]) -> dict[str, Any]:
    """A tokenizer.json of a SentencePiece BPE model."""
    pieces, spec = sentencepiece.sentence_model(file)
    if spec['model_type'] != _BPE or spec['charsmap'] or spec['remove_extra_whitespaces']:
        raise CheckpointError(
            f'{file} is no BPE model as LLaMA has it (type {spec["model_type"]}, or it rewrites '
            'its text). Put the tokenizer.json of the same model there in its place.'
        )
    vocabulary = {piece: k for k, (piece, _) in enumerate(pieces)}
    spaces = [{'type': 'Replace', 'pattern': {'String': ' '}, 'content': SPACE}]
    decode: list[dict[str, Any]] = [
        {'type': 'Replace', 'pattern': {'String': SPACE}, 'content': ' '},
        {'type': 'ByteFallback'},
        {'type': 'Fuse'},
    ]
    if spec['add_dummy_prefix']:
        spaces.insert(0, {'type': 'Prepend', 'prepend': SPACE})
        decode.append({'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0})
    start = special['bos_token']
    first = {'SpecialToken': {'id': start, 'type_id': 0}}
    one, two = ({'Sequence': {'id': letter, 'type_id': k}} for k, letter in enumerate('AB'))
    lead = [first] if settings.get('add_bos_token', True) else []
    return {
        'version': '1.0',
        'truncation': None,
        'padding': None,
        'added_tokens': [],
        'normalizer': {'type': 'Sequence', 'normalizers': spaces},
        'pre_tokenizer': None,
        'post_processor': {
            'type': 'TemplateProcessing',
            'single': [*lead, one],
            'pair': [*lead, one, two],
            'special_tokens': {
                start: {'id': start, 'ids': [vocabulary.get(start, 1)], 'tokens': [start]}
            },
        },
        'decoder': {'type': 'Sequence', 'decoders': decode},
        'model': {
            'type': 'BPE',
            'dropout': None,
            'unk_token': special['unk_token'],
            'continuing_subword_prefix': None,
            'end_of_word_suffix': None,
            'fuse_unk': True,
            'byte_fallback': True,
            'vocab': vocabulary,
            'merges': _merges(pieces, vocabulary),
        },
    }


def _merges(pieces: list[tuple[str, float]], vocabulary: dict[str, int]) -> list[str]:
    """The pairs that BPE joins, first those that make the piece of the highest score."""
    found = []
    for piece, score in pieces:
        pairs = ((piece[:k], piece[k:]) for k in range(1, len(piece)))
        known = [(vocabulary[a], vocabulary[b], a, b) for a, b in pairs if _both(a, b, vocabulary)]
        found += [(-score, left, right, f'{a} {b}') for left, right, a, b in sorted(known)]
    return [text for *_, text in sorted(found, key=lambda merge: merge[0])]


def _both(a: str, b: str, vocabulary: dict[str, int]) -> bool:
    return a in vocabulary and b in vocabulary


def _added(word: str, number: int) -> dict[str, Any]:
    plain = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(id=number, content=word, **plain)


def _word(value: Any) -> str | None:
    return value.get('content') if isinstance(value, dict) else value


def _optional(file: Path) -> dict[str, Any]:
    return llava_files.read_json(file) if file.is_file() else {}


def _text(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + '\n').encode()
