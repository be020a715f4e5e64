"""Whatever is said, the ids are the original's and the answers are what is learned."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmllava.prompts.encode import encode, encode_text
from mmllava.prompts.labels import encode_training
from mmllava.prompts.render import render
from mmllava.prompts.templates import TEMPLATES, get_template
from mmllava.structures import IGNORE_INDEX, IMAGE_TAG, IMAGE_TOKEN_INDEX, Segment, Turn
from tests.conftest import MODELS
from tests.helpers.strategies import (
    SlowTokenizer,
    bytes_reader,
    dialogues,
    fast_reader,
    image_ids,
    llama_reader,
    questions,
    texts,
    with_hashes,
)

START_END = ('<im_start>', '<im_end>')
#: style -> what is learned of an answer in a chat
LEARNED = {
    'two': ' {}</s>',
    'chatml': '{}<|im_end|>',
    'llama_2': ' {} </s>',
    'plain': '{}\n',
}
CHATS = sorted(n for n, t in TEMPLATES.items() if t.style in ('two', 'chatml', 'llama_2'))
V0 = sorted(n for n, t in TEMPLATES.items() if t.style == 'single')


@pytest.fixture(scope='module')
def readers(tmp_path_factory):
    """Each kind of tokenizer, by name."""
    source = MODELS / 'tokenizer'
    hashes = with_hashes(source, tmp_path_factory.mktemp('hashes'))
    found = {
        'legacy': llama_reader(source, legacy=True),
        'not legacy': llama_reader(source, legacy=False),
        'legacy, start and end': llama_reader(source, True, START_END),
        'not legacy, start and end': llama_reader(source, False, START_END),
        'legacy, hashes': llama_reader(hashes, legacy=True),
        'not legacy, hashes': llama_reader(hashes, legacy=False),
        'fast': fast_reader(source),
        'bytes': bytes_reader(tmp_path_factory.mktemp('bytes')),
    }
    return found.__getitem__  # which hypothesis shows in a line


LLAMA = ['legacy', 'not legacy', 'legacy, start and end', 'not legacy, start and end']
ALL = [*LLAMA, 'fast', 'bytes']


def turns_of(dialogue):
    return [t for q, a in dialogue for t in (Turn('user', q), Turn('assistant', a))]


def text_of(segments):
    return ''.join(segment.text for segment in segments)


def check_learned(reader, prompt, segments):
    """Labels are the ids where a token's bytes lie in a learned segment, and nowhere else."""
    answers, whole = [], ''
    for segment in segments:
        if segment.learn:
            answers.append((len(whole), len(whole) + len(segment.text)))
        whole += segment.text
    ids, labels = list(prompt.input_ids), list(prompt.labels)
    if reader.tokenizer.bos_id is not None:
        assert (ids.pop(0), labels.pop(0)) == (reader.tokenizer.bos_id, IGNORE_INDEX)
    start = 0
    for chunk in whole.split(IMAGE_TAG):
        count = [*ids, IMAGE_TOKEN_INDEX].index(IMAGE_TOKEN_INDEX)
        own, learned = ids[:count], labels[:count]
        assert labels[count : count + 1] in ([], [IGNORE_INDEX])
        ids, labels = ids[count + 1 :], labels[count + 1 :]
        wanted = {
            byte
            for first, last in answers
            for byte in range(
                len(reader.normal(chunk[: max(first - start, 0)]).encode()),
                len(reader.normal(chunk[: max(last - start, 0)]).encode()),
            )
        }
        found, chunk_bytes = set(), reader.normal(chunk).encode()
        for (first, last), id_, label in zip(reader.ranges(own, chunk), own, learned, strict=True):
            own_bytes = range(first, max(last, first + 1))  # one without any goes with the next
            assert label == (IGNORE_INDEX if wanted.isdisjoint(own_bytes) else id_)
            if label != IGNORE_INDEX:
                found |= set(range(first, last))
        # No token is half an answer, but for a line break that byte-level tokenizers join
        # with that of the role before it.
        joined = [byte for byte in wanted - {b + 1 for b in wanted} if chunk_bytes[byte] == 10]
        assert wanted <= found <= wanted | {byte - 1 for byte in joined}
        start += len(chunk) + len(IMAGE_TAG)
    assert not ids


@given(dialogue=dialogues(), name=st.sampled_from(CHATS), reader=st.sampled_from(ALL))
def test_exactly_the_answers_and_their_end_are_learned(readers, dialogue, name, reader):
    template, turns = get_template(name), turns_of(dialogue)
    images = sum(question.count(IMAGE_TAG) for question, _ in dialogue)
    prompt = encode_training(template, turns, readers(reader).tokenizer, images)
    segments = render(template, turns)
    expected = [LEARNED[template.style].format(answer) for _, answer in dialogue]
    assert [s.text for s in segments if s.learn] == expected
    check_learned(readers(reader), prompt, segments)


@given(caption=texts(), reader=st.sampled_from(ALL))
def test_of_a_plain_sample_the_whole_caption_is_learned(readers, caption, reader):
    """A caption may begin with what the tokenizer writes as a space of its own and bytes."""
    turns = [Turn('user', IMAGE_TAG), Turn('assistant', caption)]
    prompt = encode_training(get_template('plain'), turns, readers(reader).tokenizer, 1)
    start = prompt.input_ids.index(IMAGE_TOKEN_INDEX) + 1
    assert prompt.labels == [IGNORE_INDEX] * start + prompt.input_ids[start:]


@given(
    dialogue=dialogues(),
    name=st.sampled_from(V0),
    reader=st.sampled_from(['legacy, hashes', 'not legacy, hashes']),
)
def test_v0_learns_its_answers_whole_and_the_hashes_that_stop_them(readers, dialogue, name, reader):
    template, turns = get_template(name), turns_of(dialogue)
    human, assistant = template.roles
    segments = [Segment(f'{template.system}\n\n')]
    for question, answer in dialogue:
        segments += [
            Segment('###', learn=True),
            Segment(f' {human}: {question}\n'),
            Segment(f'### {assistant}: {answer}\n', learn=True),
        ]
    segments.append(Segment('### ', learn=True))
    images = sum(question.count(IMAGE_TAG) for question, _ in dialogue)
    prompt = encode_training(template, turns, readers(reader).tokenizer, images)
    check_learned(readers(reader), prompt, segments)


@given(
    dialogue=dialogues(),
    is_open=st.booleans(),
    name=st.sampled_from([*CHATS, *V0]),
    reader=st.sampled_from(LLAMA),
)
def test_ids_are_those_of_the_slow_tokenizer_chunk_by_chunk(
    readers, dialogue, is_open, name, reader
):
    turns = turns_of(dialogue)
    turns[-1] = Turn('assistant', None) if is_open else turns[-1]
    segments = render(get_template(name), turns)
    whole, ours = text_of(segments), readers(reader).tokenizer
    slow = SlowTokenizer(MODELS / 'tokenizer', ours.legacy, readers(reader).specials)
    expected = image_ids(whole, slow)
    images = whole.count(IMAGE_TAG)
    assert encode(segments, ours, images).input_ids == expected
    assert encode_text(whole, ours, images) == expected


@given(
    dialogue=dialogues(),
    name=st.sampled_from([*CHATS, *V0]),
    reader=st.sampled_from(ALL),
)
def test_labels_change_no_id(readers, dialogue, name, reader):
    template, turns = get_template(name), turns_of(dialogue)
    tokenizer = readers(reader).tokenizer
    segments = render(template, turns)
    images = text_of(segments).count(IMAGE_TAG)
    prompt = encode(segments, tokenizer, images)
    assert prompt.input_ids == encode_text(text_of(segments), tokenizer, images)
    assert prompt.num_images == images
    assert all(label in (id_, IGNORE_INDEX) for id_, label in zip(*_columns(prompt), strict=True))


def _columns(prompt):
    return prompt.input_ids, prompt.labels


@given(text=questions(), cuts=st.lists(st.integers(0, 60), max_size=4), reader=st.sampled_from(ALL))
def test_where_a_text_is_cut_into_segments_changes_nothing(readers, text, cuts, reader):
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [Segment(text[a:b]) for a, b in pairwise(edges)]
    tokenizer, images = readers(reader).tokenizer, text.count(IMAGE_TAG)
    assert encode(parts, tokenizer, images) == encode([Segment(text)], tokenizer, images)


@given(text=texts(), reader=st.sampled_from(LLAMA))
def test_the_real_slow_tokenizer_agrees_where_transformers_has_one(readers, text, reader):
    import transformers

    if int(transformers.__version__.split('.')[0]) > 4:
        pytest.skip('transformers 5 has no slow LlamaTokenizer')
    ours = readers(reader).tokenizer
    slow = transformers.LlamaTokenizer(
        str(MODELS / 'tokenizer/tokenizer.model'), legacy=ours.legacy
    )
    added = [word for word in readers(reader).specials if word in START_END]
    slow.add_tokens(added, special_tokens=True)
    assert ours.encode(text) == slow(text).input_ids
