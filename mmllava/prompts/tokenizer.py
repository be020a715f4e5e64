"""Converts text to token ids and back, as the authors' slow tokenizer does.

LLaMA-family ids come from sentencepiece directly: transformers' class for these
models has changed its ids between versions, and LLaVA's weights have not.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece

from mmllava.errors import ConfigError, PromptError, unknown_name
from mmllava.io import read_json

SPACE = '\u2581'  # sentencepiece's space inside a piece
# Appended to a serialized model it sets normalizer_spec.add_dummy_prefix = false, since
# protobuf merges repeated occurrences of a field; no protobuf package is needed.
_NO_DUMMY_PREFIX = b'\x1a\x02\x18\x00'


@dataclass(frozen=True)
class Token:
    """A token of a text, and the characters ``text[start:end]`` that it stands for."""

    id: int
    start: int
    end: int


@dataclass(frozen=True)
class _Added:
    """A token outside the sentencepiece model, or a special token inside it."""

    id: int
    special: bool = True
    lstrip: bool = False
    rstrip: bool = False


class LlamaTokenizer:
    """SentencePiece tokenizer of LLaMA, Vicuna, Mistral-Instruct and Yi checkpoints.

    Equal to transformers' slow ``LlamaTokenizer`` (4.31 to 4.37, used to train
    LLaVA): the text is split at special tokens, and sentencepiece encodes the parts
    between them.

    Args:
        name_or_path: folder with ``tokenizer.model`` and, optionally,
            ``tokenizer_config.json``, ``added_tokens.json`` and
            ``special_tokens_map.json``.
        legacy: prepend a space to the text after a special token (True), or
            not (False). None reads ``legacy`` from ``tokenizer_config.json``;
            if that lacks it, it is True, as for every checkpoint older than
            the setting.
        extra_tokens: special tokens to append unless the files have them.

    Raises:
        ConfigError: the folder has no ``tokenizer.model``, or it cannot be read.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        legacy: bool | None = None,
        extra_tokens: Sequence[str] = (),
    ) -> None:
        folder = Path(name_or_path)
        model = _read_model(folder)
        config = _read_json(folder / 'tokenizer_config.json')
        added = _read_json(folder / 'added_tokens.json')
        special = _read_json(folder / 'special_tokens_map.json')
        _check_files(folder, config, added, special)
        legacy = config.get('legacy') if legacy is None else legacy
        self.legacy = True if legacy is None else bool(legacy)
        proto = model if self.legacy else model + _NO_DUMMY_PREFIX
        try:
            self.pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
            for id_ in range(self.pieces.get_piece_size()):
                self.pieces.id_to_piece(id_)  # fails for a damaged file whose pieces are not UTF-8
        except (RuntimeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f'{folder / "tokenizer.model"} is not a SentencePiece model ({error}). '
                'Copy it again from the checkpoint it belongs to.'
            ) from error
        self.unk_id = self.pieces.unk_id()
        self.added = self._read_added(added, config)
        self.bos_id = self._named(config.get('bos_token'), self.pieces.bos_id())
        self.eos_id = self._named(config.get('eos_token'), self.pieces.eos_id())
        self.add_bos = config.get('add_bos_token') is not False  # False for Yi
        for name in extra_tokens:
            if name not in self.added:
                self.added[name] = _Added(len(self))
        pad = special.get('pad_token') or config.get('pad_token')
        self.pad_id = self._named(pad, max(self.unk_id, 0))
        self._split = re.compile(
            '(' + '|'.join(re.escape(n) for n in sorted(self.added, key=len, reverse=True)) + ')'
        )
        self._name_of = {token.id: name for name, token in self.added.items()}
        self._special_ids = {token.id for token in self.added.values() if token.special}

    def __len__(self) -> int:
        """Number of ids, added tokens included."""
        return max([self.pieces.get_piece_size() - 1, *(t.id for t in self.added.values())]) + 1

    def token_id(self, token: str) -> int:
        """Returns the id of an added or special token, such as ``<im_start>``.

        Raises:
            ConfigError: the tokenizer has no such token.
        """
        if token not in self.added:
            raise unknown_name('token', token, self.added)
        return self.added[token].id

    def find(self, text: str) -> int | None:
        """Returns the id of a text that is one token, such as ``<|im_end|>``; None otherwise."""
        if text in self.added:
            return self.added[text].id
        id_ = self.pieces.piece_to_id(text)
        return None if id_ == self.unk_id else id_

    def encode(self, text: str) -> list[int]:
        """Encodes a text; the start-of-text id comes first if the checkpoint adds one."""
        start = [self.bos_id] if self.add_bos else []
        return start + [token.id for token in self.encode_spans(text)]

    def encode_spans(self, text: str) -> list[Token]:
        """Encodes a text to tokens with their characters, without start-of-text.

        Raises:
            PromptError: the pieces do not spell the text, so that labels cannot be assigned
                (the tokenizer normalises its input).
        """
        tokens: list[Token] = []
        for number, (chunk, start) in enumerate(self._chunks(text)):
            if chunk in self.added:
                tokens.append(Token(self.added[chunk].id, start, start + len(chunk)))
                continue
            prefix = self.legacy or number == 0
            pieces = self._encode_chunk(chunk, first=number == 0)
            if not self.legacy and number == 0 and pieces == [SPACE] and len(text) > len(chunk):
                continue  # only the prefix space precedes a special token
            spans = _spans(pieces, chunk, start, prefix)
            for piece, (first, last) in zip(pieces, spans, strict=True):
                tokens.append(Token(self.pieces.piece_to_id(piece), first, last))
        return tokens

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes ids to text; special tokens and unknown ids are dropped."""
        runs: list[list[str]] = [[]]
        text = ''
        for id_ in ids:
            added = self._name_of.get(id_)
            if id_ in self._special_ids or id_ < 0 or (added is None and not self._is_piece(id_)):
                continue
            if added is None:
                runs[-1].append(self.pieces.id_to_piece(id_))
            else:
                text += self.pieces.decode_pieces(runs.pop()) + added
                runs.append([])
        return text + self.pieces.decode_pieces(runs[-1])

    def spell(self, id_: int) -> str:
        """Returns the text of one id: a special token's name, a byte as ``<0x0A>``, or text."""
        added = self._name_of.get(id_)
        return self.pieces.id_to_piece(id_).replace(SPACE, ' ') if added is None else added

    def _is_piece(self, id_: int) -> bool:
        return id_ < self.pieces.get_piece_size()

    def _encode_chunk(self, chunk: str, first: bool) -> list[str]:
        if self.legacy:
            return self.pieces.encode(chunk, out_type=str)
        chunk = (SPACE if first else '') + chunk.replace(SPACE, ' ')
        if not chunk.startswith((SPACE, ' ')):
            return self.pieces.encode(chunk, out_type=str)
        # Without a dummy prefix sentencepiece drops a leading space; an <unk> in front,
        # removed afterwards, preserves it.
        head = len(self.pieces.encode('<unk>', out_type=str))
        return self.pieces.encode('<unk>' + chunk, out_type=str)[head:]

    def _chunks(self, text: str) -> list[tuple[str, int]]:
        """Splits a text at its special tokens: (chunk, position in the text), none empty.

        Except the first chunk, if the text begins with a special token: without ``legacy``
        the prefix space belongs there.
        """
        parts = self._split.split(text)
        chunks: list[tuple[str, int]] = []
        position = 0
        for number, part in enumerate(parts):
            start, position = position, position + len(part)
            if number % 2 == 0:
                if number and self.added[parts[number - 1]].rstrip:
                    start += len(part) - len(part.lstrip())
                    part = part.lstrip()
                if number + 1 < len(parts) and self.added[parts[number + 1]].lstrip:
                    part = part.rstrip()
            if part or (number == 0 and not self.legacy and text):
                chunks.append((part, start))
        return chunks

    def _read_added(self, ids: dict[str, int], config: dict) -> dict[str, _Added]:
        """Collects special and added tokens from the files that the checkpoint has."""
        added = {
            self.pieces.id_to_piece(i): _Added(i)
            for i in (self.unk_id, self.pieces.bos_id(), self.pieces.eos_id())
            if i >= 0
        }
        for name, id_ in ids.items():
            added[name] = _Added(id_)
        for id_, entry in (config.get('added_tokens_decoder') or {}).items():
            added[entry['content']] = _Added(
                int(id_),
                special=entry.get('special', False),
                lstrip=entry.get('lstrip', False),
                rstrip=entry.get('rstrip', False),
            )
        return added

    def _named(self, entry: Any, default: int) -> int:
        """Returns the id of a token that a config names; early configs have an empty text."""
        name = entry.get('content') if isinstance(entry, dict) else entry
        id_ = self.find(name) if name else None
        return default if id_ is None else id_


class HuggingFaceTokenizer:
    """Tokenizer of any other family, through transformers' ``AutoTokenizer``.

    Args:
        name_or_path: local folder, or hub id.
        extra_tokens: special tokens to append unless the tokenizer has them.
    """

    def __init__(self, name_or_path: str | Path, extra_tokens: Sequence[str] = ()) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(str(name_or_path), use_fast=True)
        self.tokenizer.add_tokens(list(extra_tokens), special_tokens=True)
        self.bos_id, self.eos_id = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        pad = self.tokenizer.pad_token_id
        self.pad_id = self.eos_id if pad is None else pad

    def __len__(self) -> int:
        return len(self.tokenizer)

    def token_id(self, token: str) -> int:
        """Returns the id of an added or special token.

        Raises:
            ConfigError: the tokenizer has no such token.
        """
        vocabulary = self.tokenizer.get_vocab()
        if token not in vocabulary:
            raise unknown_name('token', token, self.tokenizer.all_special_tokens)
        return vocabulary[token]

    def find(self, text: str) -> int | None:
        """Returns the id of a text that is one token; None otherwise."""
        return self.tokenizer.get_vocab().get(text)

    def encode(self, text: str) -> list[int]:
        """Encodes a text, with the start-of-text id if the family has one."""
        return list(self.tokenizer(text).input_ids)

    def encode_spans(self, text: str) -> list[Token]:
        """Encodes a text to tokens with their characters, without start-of-text."""
        out = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [
            Token(id_, start, end)
            for id_, (start, end) in zip(out['input_ids'], out['offset_mapping'], strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes ids to text, without special tokens."""
        return self.tokenizer.decode([i for i in ids if i >= 0], skip_special_tokens=True)

    def spell(self, id_: int) -> str:
        """Returns the text of one id, or the name of a special token."""
        return self.tokenizer.decode([id_])


def _spans(pieces: Sequence[str], text: str, start: int, prefix: bool) -> list[tuple[int, int]]:
    """Aligns pieces with a text: (start, end) of the characters of each piece.

    Args:
        pieces: of the text, in order.
        text: the input of the tokenizer.
        start: added to every position.
        prefix: a space was prepended to the text; it has no width.

    Returns:
        One span per piece; all byte pieces of a character have its span.

    Raises:
        PromptError: the pieces do not spell the text.
    """
    spans: list[tuple[int, int]] = []
    at, pending = 0, b''
    for piece in pieces:
        byte = re.fullmatch('<0x([0-9A-F]{2})>', piece)
        if byte:
            pending += bytes([int(byte[1], 16)])
            width = len(text[at : at + 1].encode())
            spans.append((start + at, start + at + 1))
            if len(pending) == width:
                spelled, pending = pending.decode(errors='replace'), b''
                at = _advance(spelled, text, at, piece)
            continue
        spelled = piece.replace(SPACE, ' ')
        if prefix and spelled.startswith(' '):
            spelled = spelled[1:]
        prefix = False
        end = _advance(spelled, text, at, piece)
        spans.append((start + at, start + end))
        at = end
    if at != len(text) or pending:
        raise PromptError(_does_not_spell(text, at, 'the end'))
    return spans


def _advance(spelled: str, text: str, at: int, piece: str) -> int:
    found = text[at : at + len(spelled)].replace(SPACE, ' ')
    if found != spelled:
        raise PromptError(_does_not_spell(text, at, repr(piece)))
    return at + len(spelled)


def _does_not_spell(text: str, at: int, piece: str) -> str:
    return (
        f'the tokenizer rewrites its input: {text[at : at + 20]!r} does not match {piece}, so '
        'learned and skipped tokens cannot be told apart. Use the tokenizer of the checkpoint.'
    )


def _read_model(folder: Path) -> bytes:
    file = folder / 'tokenizer.model'
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f'no tokenizer.model in {folder}; a LLaMA-family tokenizer is read from that file. '
            'Set tokenizer.name_or_path to a folder that has it: the delta, or the checkpoint.'
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    return read_json(file, error=ConfigError) if file.is_file() else {}


def _check_files(
    folder: Path, config: dict[str, Any], added: dict[str, Any], special: dict[str, Any]
) -> None:
    """Refuses JSON files of a tokenizer whose values are of a wrong type, by file and key."""
    for token, id_ in added.items():
        if not _is_id(id_):
            raise _wrong(folder / 'added_tokens.json', token, id_, 'a token id')
    for name in ('legacy', 'add_bos_token'):
        if not isinstance(config.get(name), (bool, type(None))):
            file = folder / 'tokenizer_config.json'
            raise _wrong(file, name, config[name], 'true or false')
    decoder = config.get('added_tokens_decoder') or {}
    if not isinstance(decoder, dict):
        file = folder / 'tokenizer_config.json'
        raise _wrong(file, 'added_tokens_decoder', decoder, 'an object')
    for id_, entry in decoder.items():
        sound = isinstance(entry, dict) and isinstance(entry.get('content'), str)
        if not (sound and entry['content'] and id_.isdecimal() and _is_id(int(id_[:10]))):
            file = folder / 'tokenizer_config.json'
            raise _wrong(file, id_, entry, 'a token id and an object with its content')
    for file, values in (('tokenizer_config.json', config), ('special_tokens_map.json', special)):
        for name in ('bos_token', 'eos_token', 'pad_token'):
            entry = values.get(name)
            text = entry.get('content') if isinstance(entry, dict) else entry
            if not isinstance(text, (str, type(None))):
                raise _wrong(folder / file, name, entry, 'a token, or an object with its content')


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < 10_000_000


def _wrong(file: Path, key: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(
        f'{file}: {key!r} is {str(value)[:60]!r}, expected {expected}. Copy the file again from '
        'the checkpoint it belongs to.'
    )
