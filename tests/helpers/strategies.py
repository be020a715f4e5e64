"""Dialogues that try to break a prompt, for hypothesis; and the tokenizers that read them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2 as proto

from mmllava.prompts.tokenizer import SPACE, HuggingFaceTokenizer, LlamaTokenizer
from mmllava.structures import IMAGE_TAG

#: What a user may type and a prompt is made of, and what tokenizers stumble over.
HOSTILE = [
    *('</s>', '<s>', '<unk>', '<pad>', '[PAD]', '<im_start>', '<im_end>', '<im_patch>'),
    *('<|im_end|>', '<|im_start|>', '<|im_start|>assistant\n', '<|endoftext|>'),
    *('[INST]', '[/INST]', '[/INST] ', '<<SYS>>\n', '\n<</SYS>>\n\n'),
    *('USER:', 'ASSISTANT:', ' ASSISTANT: ', '</s>USER: ', 'Human', 'Assistant: '),
    *('#', '##', '###', '### Human: ', '\n### ', '###Assistant:'),
    *('<0x0A>', '<0xE6>', '<', '>', '<image', 'image>', '<Image>', '</Image>', '<im', '<ima'),
    *(' ', '  ', '\n', '\n\n', '\t', '\r\n', '\u00a0', '\u2028', '\u200b', '\ufeff', '\u3000'),
    *(SPACE, SPACE * 2, '\0', '\x7f', '\x85', '\ufffd', '\U0010ffff'),
    *('é', 'e\u0301', '\u0301', '日本語', '🐈', '👩\u200d👩\u200d👧', 'שלום', '한국어', 'ﬁ'),
    *(' ' * 40, '#' * 33, 'a' * 100, '🐈' * 20, '\n' * 20),
    *('a cat', ' red', 'What is it?', 'It is 12.'),
]


def texts(min_size: int = 1) -> st.SearchStrategy[str]:
    """Text without ``<image>``, at least one character."""
    part = st.sampled_from(HOSTILE) | st.text(max_size=6)
    return (
        st.lists(part, min_size=min_size, max_size=6)
        .map(''.join)
        .filter(lambda text: text and IMAGE_TAG not in text)
    )


@st.composite
def questions(draw: Any, max_images: int = 2) -> str:
    """Text with images anywhere in it, inside words too."""
    text = draw(texts())
    for _ in range(draw(st.integers(0, max_images))):
        at = draw(st.integers(0, len(text)))
        longer = text[:at] + IMAGE_TAG + text[at:]
        if longer.count(IMAGE_TAG) == text.count(IMAGE_TAG) + 1:  # none was cut in two
            text = longer
    return text


def dialogues(max_rounds: int = 3) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Questions, images in them, each with its answer."""
    return st.lists(st.tuples(questions(), texts()), min_size=1, max_size=max_rounds)


@dataclass(frozen=True, repr=False)
class Reader:
    """A tokenizer, and what each of its tokens spells, told without its own offsets."""

    tokenizer: Any
    specials: dict[str, int]
    spell: Callable[[int], bytes]
    normal: Callable[[str], str]  # what the tokenizer reads as the same text

    def runs(self, text: str) -> list[str]:
        """A text cut at its special tokens, empty pieces left out."""
        words = sorted(self.specials, key=len, reverse=True)
        return [run for run in re.split(f'({"|".join(map(re.escape, words))})', text) if run]

    def ranges(self, ids: list[int], text: str) -> list[tuple[int, int]]:
        """The bytes of a text that each token stands for.

        A token that is only the space which sentencepiece puts in front of a
        text stands for nothing; it is told by its empty range.
        """
        ranges, at, left = [], 0, list(ids)
        for run in self.runs(text):
            whole = self.normal(run).encode()
            if run in self.specials:
                assert left.pop(0) == self.specials[run]
                ranges.append((at, at + len(whole)))
                at += len(whole)
                continue
            own = []
            while left and left[0] not in self.specials.values():
                own.append(self.spell(left.pop(0)))
            if b''.join(own) != whole:  # a space was put in front
                assert b''.join(own) == b' ' + whole
                own[0] = own[0][1:]
            for piece in own:
                ranges.append((at, at + len(piece)))
                at += len(piece)
        # Where nothing but the space stood before a special token it was dropped.
        assert not left and len(ranges) == len(ids)
        return ranges


def _spell_piece(piece: str) -> bytes:
    byte = re.fullmatch('<0x([0-9A-F]{2})>', piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE, ' ').encode()


def llama_reader(folder: Path, legacy: bool, extra_tokens: tuple[str, ...] = ()) -> Reader:
    """Our own tokenizer of LLaMA."""
    tokenizer = LlamaTokenizer(folder, legacy=legacy, extra_tokens=extra_tokens)
    specials = {'<unk>': 0, '<s>': 1, '</s>': 2}
    specials |= {word: tokenizer.token_id(word) for word in extra_tokens}
    return Reader(
        tokenizer,
        specials,
        lambda id_: _spell_piece(tokenizer.pieces.id_to_piece(id_)),
        lambda text: text.replace(SPACE, ' '),
    )


def fast_reader(folder: Path) -> Reader:
    """transformers' tokenizer of LLaMA."""
    tokenizer = HuggingFaceTokenizer(folder)
    to_piece = tokenizer.tokenizer.convert_ids_to_tokens
    return Reader(
        tokenizer,
        {'<unk>': 0, '<s>': 1, '</s>': 2},
        lambda id_: _spell_piece(to_piece(id_)),
        lambda text: text.replace(SPACE, ' '),
    )


def bytes_reader(folder: Path) -> Reader:
    """A byte-level tokenizer as MPT has it: no start-of-text, ``<|im_end|>`` one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [('a', 't'), ('Ġ', 'a'), ('Ġ', 'Ġ'), ('I', 't'), ('#', '#'), ('Ċ', 'Ċ'), ('U', 'S')]
    words = [*alphabet, *(a + b for a, b in merges)]
    inner = Tokenizer(models.BPE(dict(zip(words, range(len(words)), strict=True)), merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
    whole = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=specials[0], additional_special_tokens=specials[1:]
    )
    whole.save_pretrained(folder)
    tokenizer = HuggingFaceTokenizer(folder)
    table = _byte_of_letter()
    to_piece = tokenizer.tokenizer.convert_ids_to_tokens
    return Reader(
        tokenizer,
        {word: tokenizer.token_id(word) for word in specials},
        lambda id_: bytes(table[letter] for letter in to_piece(id_)),
        lambda text: text,
    )


def _byte_of_letter() -> dict[str, int]:
    """GPT-2's letters for bytes: printable ones are themselves, the others follow 255."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + k): b for k, b in enumerate(hidden)}


def with_hashes(source: Path, folder: Path) -> Path:
    """The recorded tokenizer, with ``###`` as LLaMA has it: one token after a space, else two."""
    model = proto.ModelProto()
    model.ParseFromString((source / 'tokenizer.model').read_bytes())
    for k, piece in enumerate(['##', f'{SPACE}##', f'{SPACE}###', '#']):
        model.pieces.add(
            piece=piece, score=-10000.0 - k, type=proto.ModelProto.SentencePiece.NORMAL
        )
    (folder / 'tokenizer.model').write_bytes(model.SerializeToString())
    return folder


class SlowTokenizer:
    """The slow ``LlamaTokenizer`` of transformers 4.37, a second time and in other words."""

    def __init__(self, folder: Path, legacy: bool, specials: dict[str, int]) -> None:
        model = proto.ModelProto()
        model.ParseFromString((folder / 'tokenizer.model').read_bytes())
        model.normalizer_spec.add_dummy_prefix = legacy
        self.pieces = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
        self.legacy, self.specials = legacy, specials

    def __call__(self, text: str) -> list[int]:
        if text and not self.legacy:
            text = SPACE + text.replace(SPACE, ' ')
        pieces: list[str] = []
        for part in self._parts(text):
            pieces += [part] if part in self.specials else self._tokenize(part)
        if (
            not self.legacy
            and pieces[:1] == [SPACE]
            and pieces[1:2] in [[s] for s in self.specials]
        ):
            del pieces[0]
        return [1, *(self.specials.get(p, self.pieces.piece_to_id(p)) for p in pieces)]

    def _parts(self, text: str) -> list[str]:
        """Cut at special tokens, letter by letter."""
        parts = ['']
        while text:
            found = [word for word in self.specials if text.startswith(word)]
            length = max(map(len, found), default=0)
            if length:
                parts += [text[:length], '']
            else:
                parts[-1] += text[0]
            text = text[max(length, 1) :]
        return [part for part in parts if part]

    def _tokenize(self, text: str) -> list[str]:
        if self.legacy or not text.startswith((SPACE, ' ')):
            return self.pieces.encode(text, out_type=str)
        skip = len(self.pieces.encode('<unk>', out_type=str))
        return self.pieces.encode('<unk>' + text, out_type=str)[skip:]


def image_ids(prompt: str, tokenizer: SlowTokenizer) -> list[int]:
    """``tokenizer_image_token`` of LLaVA: chunk by chunk, each start-of-text but the first cut."""
    first, *rest = [tokenizer(chunk) for chunk in prompt.split(IMAGE_TAG)]
    return first + [id_ for chunk in rest for id_ in [-200, *chunk[1:]]]
