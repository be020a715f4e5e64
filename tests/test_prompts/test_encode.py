"""What must hold for every prompt, not what one prompt happens to give."""

import pytest

from mmllava.errors import PromptError
from mmllava.prompts.conversation import ask, from_json, from_patches
from mmllava.prompts.encode import encode, encode_text
from mmllava.prompts.labels import encode_training
from mmllava.prompts.presets import PRESETS, get_preset
from mmllava.prompts.render import render
from mmllava.prompts.templates import get_template
from mmllava.prompts.tokenizer import LlamaTokenizer
from mmllava.structures import IGNORE_INDEX, IMAGE_TOKEN_INDEX, EncodedPrompt, Segment, Turn
from tests.conftest import MODELS


@pytest.fixture(scope='module', params=[True, False], ids=['legacy', 'not legacy'])
def tokenizer(request):
    return LlamaTokenizer(MODELS / 'tokenizer', legacy=request.param)


def recorded_labels(golden):
    assert len(golden['labels']) == 56
    return golden['labels']


def encode_row(row):
    words = ['<im_start>', '<im_end>'] if row['im_start_end'] else []
    legacy = row['tokenizer'] == 'legacy_true'
    tokenizer = LlamaTokenizer(MODELS / 'tokenizer', legacy=legacy, extra_tokens=words)
    turns = from_json(row['conversations'], row['template'], row['im_start_end'])
    images = sum(turn.text.count('<image>') for turn in turns)
    template = get_template(row['template'])
    return encode_training(template, turns, tokenizer, images), render(template, turns), tokenizer


def test_labels_are_the_recorded_ones_where_the_original_is_right(golden):
    for row in recorded_labels(golden):
        prompt, _, _ = encode_row(row)
        assert prompt.input_ids == row['input_ids'], row
        failed = all(label == IGNORE_INDEX for label in row['labels'])
        assert failed or prompt.labels == row['labels'], row


def test_where_the_original_learns_nothing_the_answers_are_learned(golden):
    failures = 0
    for row in recorded_labels(golden):
        if any(label != IGNORE_INDEX for label in row['labels']):
            continue
        prompt, segments, tokenizer = encode_row(row)
        learned = [i for i in prompt.labels if i != IGNORE_INDEX]
        answers = ''.join(s.text for s in segments if s.learn)
        assert tokenizer.decode(learned).split() == answers.replace('</s>', ' ').split()
        failures += 1
    assert failures == 8  # mpt, and mistral_instruct with several turns


def test_text_of_the_user_cannot_shift_a_label(tokenizer):
    """Roles and separators inside a question: the original loses the whole sample."""
    answer = ' It is red.</s>'
    for question in ('Say ASSISTANT: yes', 'a</s>USER: b ASSISTANT: c', '[/INST] x', 'x'):
        segments = render(
            get_template('vicuna_v1'), [Turn('user', question), Turn('assistant', 'It is red.')]
        )
        learned = [i for i in encode(segments, tokenizer, 0).labels if i != IGNORE_INDEX]
        assert tokenizer.decode(learned).strip() == 'It is red.'
        assert learned[-1] == tokenizer.eos_id, answer


def test_splitting_a_segment_changes_no_id(tokenizer):
    whole = encode([Segment('USER: hello there')], tokenizer, 0)
    parts = encode([Segment('USER:'), Segment(' hel'), Segment('lo there')], tokenizer, 0)
    assert parts == whole


@pytest.mark.parametrize('count', [0, 1, 3])
def test_each_picture_takes_one_slot_and_no_label(tokenizer, count):
    prompt = encode([Segment('x <image>' * count + ' end')], tokenizer, count)
    slots = [k for k, i in enumerate(prompt.input_ids) if i == IMAGE_TOKEN_INDEX]
    assert len(slots) == prompt.num_images == count
    assert all(prompt.labels[k] == IGNORE_INDEX for k in slots)


def test_the_start_of_text_comes_first_and_only_once(tokenizer):
    ids = encode_text('a <image> b <image> c', tokenizer, 2)
    assert [k for k, i in enumerate(ids) if i == tokenizer.bos_id] == [0]


def test_a_missing_picture_is_named_in_the_error(tokenizer):
    with pytest.raises(PromptError, match=r'has 1 <image> tags but 0 images were given'):
        encode_text('<image> what?', tokenizer, 0)


def test_a_picture_in_an_answer_is_refused(tokenizer):
    with pytest.raises(PromptError, match=r'an answer cannot contain <image>'):
        encode([Segment('<image>', learn=True)], tokenizer, 1)


def test_ids_and_labels_of_unequal_length_are_our_own_bug():
    with pytest.raises(ValueError, match='1 ids but 0 labels'):
        EncodedPrompt([1], [])


def test_a_question_has_its_picture_on_a_line_in_front():
    assert ask('Why?', 1)[0].text == '<image>\nWhy?'
    assert ask('Why?', 2, start_end=True)[0].text == '<im_start><image><im_end>\n' * 2 + 'Why?'


def test_a_picture_that_is_enclosed_already_is_not_enclosed_again():
    once = '<im_start><image><im_end>\nWhy?'
    assert ask(once, 1, start_end=True)[0].text == once
    both = ask('<image> and <im_start><image><im_end>?', 2, start_end=True)
    assert both[0].text == '<im_start><image><im_end> and <im_start><image><im_end>?'


def test_mmtag_templates_show_the_picture_in_a_turn_of_its_own():
    turns = ask('Why?', 1, mmtag=True)
    assert [turn.text for turn in turns] == [
        '<Image><image></Image>',
        'Received.',
        'Why?',
        None,
    ]
    assert ask('Why?', 0, mmtag=True)[0].text == 'Why?'


@pytest.mark.parametrize('enclosed', [True, False], ids=['start and end', 'bare'])
def test_a_prompt_of_v0_has_the_ids_of_its_sentinel_form(enclosed):
    words = ['<im_patch>', '<im_start>', '<im_end>']
    tokenizer = LlamaTokenizer(MODELS / 'tokenizer', legacy=True, extra_tokens=words)
    picture = '<im_patch>' * 16
    start, end = ('<im_start>', '<im_end>') if enclosed else ('', '')
    legacy = f'A chat.###Human: What is it?\n{start}{picture}{end}###Assistant:'
    sentinel = f'A chat.###Human: What is it?\n{start}<image>{end}###Assistant:'
    assert from_patches(legacy, 16) == sentinel
    ids = encode_text(from_patches(legacy, 16), tokenizer, 1)
    # v0's own way: all of the text at once, then the patches are written over.
    whole, patch = tokenizer.encode(legacy), tokenizer.token_id('<im_patch>')
    first = whole.index(patch)
    assert whole.count(patch) == 16
    assert ids == [*whole[:first], IMAGE_TOKEN_INDEX, *whole[first + 16 :]]


def test_patches_of_another_picture_size_are_counted_in_the_error():
    with pytest.raises(PromptError, match=r'has 256 <im_patch> in a row, and an image of this m'):
        from_patches('<im_start>' + '<im_patch>' * 256 + '<im_end> Why?', 576)
    assert from_patches('What does <im_patch> mean?', 576) == 'What does <im_patch> mean?'


def test_training_moves_the_picture_to_the_front_and_keeps_one_of_several():
    row = [{'from': 'human', 'value': 'What <image> is <image> it?'}]
    assert from_json(row, 'v1')[0].text == '<image>\nWhat  is  it?'
    assert from_json(row, 'v1_mmtag')[0].text == '<Image><image></Image>\nWhat  is  it?'
    assert from_json(row, 'plain')[0].text == '<image>'


def test_training_keeps_the_places_of_several_pictures():
    row = [{'from': 'human', 'value': 'Is <image> like <image> ?'}]
    assert from_json(row, 'v1', several=True)[0].text == 'Is <image> like <image> ?'
    enclosed = from_json(row, 'v1', start_end=True, several=True)[0].text
    assert enclosed == 'Is <im_start><image><im_end> like <im_start><image><im_end> ?'


def test_a_conversation_that_the_assistant_opens_loses_that_turn():
    row = [{'from': 'gpt', 'value': 'Hi'}, {'from': 'human', 'value': 'Who?'}]
    assert from_json(row, 'v1') == [Turn('user', 'Who?')]


@pytest.mark.parametrize('message', [{'from': 'system', 'value': 'x'}, {'from': 'human'}, {}])
def test_a_message_of_another_form_is_shown(message):
    with pytest.raises(PromptError, match=r"message 0 is \{.*expected \{'from': 'human' or 'gpt'"):
        from_json([message], 'v1')


def test_every_preset_says_where_it_comes_from_and_asks_or_appends_something():
    for name, preset in PRESETS.items():
        assert preset.source and preset.generation['max_new_tokens'] > 0, name
    with pytest.raises(ValueError, match=r"unknown preset 'coco_shrt'. Did you mean coco_short"):
        get_preset('coco_shrt')


def test_a_tag_that_ends_in_the_next_segment_is_a_picture(tokenizer):
    parts = encode([Segment('a <ima'), Segment('ge> b')], tokenizer, 1)
    assert parts == encode([Segment('a <image> b')], tokenizer, 1)
    with pytest.raises(PromptError, match=r"an answer cannot contain <image>, got 'ge> b'"):
        encode([Segment('a <ima'), Segment('ge> b', learn=True)], tokenizer, 1)


def test_the_space_in_front_of_a_caption_is_learned_with_it(tokenizer):
    """Without a piece for its first letter, a caption begins with a token that is only a space."""
    prompt = encode([Segment('<image>'), Segment('日本', learn=True)], tokenizer, 1)
    assert tokenizer.pieces.id_to_piece(prompt.input_ids[2]) == '\u2581'
    assert prompt.labels == [IGNORE_INDEX, IGNORE_INDEX, *prompt.input_ids[2:]]


def test_half_a_letter_is_refused(tokenizer):
    with pytest.raises(PromptError, match=r"has '\\ud83d' at character 2, which is half of a sur"):
        encode_text('a \ud83d', tokenizer, 0)
