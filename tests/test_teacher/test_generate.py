"""Images in words to training rows: what the teacher is told, what is kept, what is not."""

import json

import pytest

from mmllava.errors import DataError
from mmllava.teacher import data_report
from mmllava.teacher.cache import Answer
from mmllava.teacher.generate import DETAIL_QUESTIONS, generate, requests_of, to_row
from mmllava.teacher.image_context import ImageContext, read_coco, read_contexts
from mmllava.teacher.parse import REASONS, Rejected, parse_turns, read_answer
from mmllava.teacher.prompts import KINDS, OURS, read_recipe
from tests.test_teacher.data import ROWS, dialogue, write_lines, write_pictures

CAT = ImageContext('7', 'cat.png', ('A cat.', 'One cat sits.'), (('cat', (0.1, 0.25, 0.5, 1.0)),))
LAMP = ImageContext('8', 'lamp.png', ('A lamp.',))


def said(text, finish='stop'):
    return Answer(text, finish, 'm', 1, 1)


@pytest.mark.parametrize('kind', list(KINDS))
def test_the_teacher_reads_instruction_examples_and_the_picture_last(kind):
    request = read_recipe(kind).request(CAT, 9, 0.7)
    roles = [role for role, _ in request.messages]
    assert roles == ['system', 'user', 'assistant', 'user', 'assistant', 'user']
    boxes = '' if kind == 'conversation' else '\n\ncat: [0.1, 0.25, 0.5, 1.0]'
    assert request.messages[-1] == ('user', 'A cat.\nOne cat sits.' + boxes)


@pytest.mark.parametrize('kind', list(KINDS))
def test_our_own_examples_are_what_the_recipe_asks_for(kind):
    for told, written in read_recipe(kind).examples:
        assert read_answer(kind, said(written))
        assert ('[0.' in told) == KINDS[kind].boxes


def test_a_folder_in_the_layout_of_the_original_replaces_them(tmp_path):
    folder = tmp_path / 'detail_description'
    folder.mkdir()
    for name, text in (
        ('system_message', 'Be brief.'),
        ('000_caps', 'A.'),
        ('000_conv', 'B.'),
        ('001_caps', 'C.'),
        ('001_conv', 'D.\n'),
    ):
        (folder / f'{name}.txt').write_text(text)
    recipe = read_recipe('detail', tmp_path)
    assert (recipe.system, recipe.examples) == ('Be brief.', (('A.', 'B.'), ('C.', 'D.')))
    (folder / '001_conv.txt').unlink()
    with pytest.raises(DataError, match='has one half of example 001; expected NNN_caps.txt and'):
        read_recipe('detail', tmp_path)
    with pytest.raises(DataError, match='cannot read .*complex_reasoning/system_message.txt'):
        read_recipe('complex', tmp_path)


def test_coco_boxes_become_shares_with_three_decimals(tmp_path):
    images = [
        dict(id=9, file_name='b.jpg', width=640, height=480),
        dict(id=3, file_name='a.jpg', width=10, height=10),
    ]
    said = [
        dict(image_id=3, caption='No box.\n'),
        dict(image_id=9, caption=' A cat.'),
        dict(image_id=9, caption='Cat'),
    ]
    seen = [dict(image_id=9, category_id=17, bbox=[64, 48, 100.5, 600])]
    (tmp_path / 'c.json').write_text(json.dumps(dict(images=images, annotations=said)))
    whole = dict(images=images, annotations=seen, categories=[dict(id=17, name='cat')])
    (tmp_path / 'i.json').write_text(json.dumps(whole))
    assert read_coco(tmp_path / 'c.json', tmp_path / 'i.json') == [
        ImageContext('9', 'b.jpg', ('A cat.', 'Cat'), (('cat', (0.1, 0.1, 0.257, 1.0)),)),
        ImageContext('3', 'a.jpg', ('No box.',)),
    ]
    with pytest.raises(DataError, match='are not COCO annotations of the same images: KeyError'):
        read_coco(tmp_path / 'c.json', tmp_path / 'c.json')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(image=None), 'line 2 has no "image"'),
        (dict(captions=[]), 'line 2 has captions'),
        (
            dict(instances=[dict(category='cat', bbox=[3, 4, 50, 60])]),
            'divide pixels by width and height',
        ),
        (dict(instances=[dict(category='cat')]), 'line 2 has a bad instance'),
        (dict(id='0'), "line 2 has the id '0' a second time"),
    ],
)
def test_a_line_that_is_no_context_is_named(tmp_path, change, message):
    file = write_lines(tmp_path / 'p.jsonl', [ROWS[0], ROWS[1] | change])
    with pytest.raises(DataError, match=message):
        read_contexts(file)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('{"id": "\\ud800"}', 'line 2 has half of a surrogate pair'),
        ('[' * 100_000, 'line 2 is JSON nested too deep'),
    ],
)
def test_a_line_that_could_not_be_written_again_is_named(tmp_path, line, message):
    (tmp_path / 'p.jsonl').write_text(json.dumps(ROWS[0]) + '\n' + line)
    with pytest.raises(DataError, match=message):
        read_contexts(tmp_path / 'p.jsonl')


TWO = (('What is it?', 'A cat.'), ('Is it big?', 'No.\n\n1. It is small.'))


def test_a_dialogue_is_read_back_as_it_was_written():
    assert parse_turns(dialogue(*TWO)) == list(TWO)
    assert parse_turns('Question: Why?\n=====\nAnswer: So.') == [('Why?', 'So.')]
    windows = said(dialogue(('Why?', 'So.')).replace('\n', '\r\n'))
    assert read_answer('complex', windows) == [('Why?', 'So.')]


@pytest.mark.parametrize(
    ('kind', 'answer', 'reason'),
    [
        ('conversation', said(dialogue(*TWO), 'length'), 'cut'),
        ('conversation', said(dialogue(*TWO), 'content_filter'), 'refusal'),
        ('detail', said(' \n'), 'empty'),
        ('conversation', said(dialogue(('Why?', ''))), 'empty'),
        ('detail', said("I'm sorry, but I cannot see images."), 'refusal'),
        ('conversation', said(dialogue(('Why?', 'As an AI language model, no.'))), 'refusal'),
        ('conversation', said('A cat.'), 'format'),
        ('conversation', said('Question:\nWhy?'), 'format'),
        ('conversation', said('Answer:\nSo.\n===\nQuestion:\nWhy?'), 'format'),
        ('conversation', said('Question:\nWhy?\nAnswer:\nSo.'), 'format'),
        ('conversation', said(dialogue(('Is <image> red?', 'No.'))), 'format'),
        ('complex', said(dialogue(*TWO)), 'format'),
        ('detail', said(dialogue(*TWO)), 'format'),
        ('detail', said('A cat at [0.1, 0.25, 0.5, 1.0].'), 'coordinates'),
        ('detail', said('A cat whose left side is at 0.345 of it.'), 'coordinates'),
        ('complex', said(dialogue(('Why?', 'The caption says so.'))), 'source'),
        ('detail', said('According to the description, a cat.'), 'source'),
        ('detail', said('The bounding box is small.'), 'source'),
        ('conversation', said(dialogue(TWO[0], TWO[0])), 'doubled'),
    ],
)
def test_what_cannot_be_learned_from_is_rejected_with_its_reason(kind, answer, reason):
    with pytest.raises(Rejected) as found:
        read_answer(kind, answer)
    assert found.value.reason == reason in REASONS


@pytest.mark.parametrize(
    'text',
    [
        'It costs $ 3.50, and the sign says 10, 20 and 30.',
        'I can see a cat. It is sorry to be wet.',
        'She describes the book, and these boxes are full of text.',
        'The clock shows 0.5 hours past 12.',
    ],
)
def test_plain_words_are_not_taken_for_faults(text):
    assert read_answer('detail', said(text)) == [('', text)]


def test_the_mark_stands_at_either_side_of_the_first_question_by_picture_and_seed_alone():
    turns = list(TWO)
    sides = set()
    for n in range(20):
        row = to_row(ImageContext(str(n), 'x.png', ('A.',)), 'conversation', turns, seed=1)
        assert row == to_row(ImageContext(str(n), 'x.png', ('B.',)), 'conversation', turns, seed=1)
        first, *others = [message['value'] for message in row['conversations']]
        assert others == ['A cat.', *TWO[1]]
        sides.add(first)
    assert sides == {'<image>\nWhat is it?', 'What is it?\n<image>'}
    rows = [to_row(ImageContext(str(n), 'x', ()), 'detail', [('', 'A.')], 0) for n in range(200)]
    asked = {row['conversations'][0]['value'].replace('<image>', '').strip() for row in rows}
    assert asked == set(DETAIL_QUESTIONS)


@pytest.fixture
def written(serve, hire, tmp_path):
    """A run in which the lamp is refused, and the book is described like the vase."""

    def teach(messages):
        asked = messages[-1]['content']
        if 'lamp' in asked:
            return "I'm sorry, I cannot help with that."
        thing = 'vase' if 'book' in asked else asked.split()[1]
        if 'one good question' in messages[0]['content']:
            return dialogue((f'Why is the {thing} there?', f'To be seen, {thing}.'))
        if 'Question:' in messages[2]['content']:
            return dialogue((f'What is on the table, holding the {thing}?', f'A {thing}.'))
        return f'A {thing} stands on a brown table.'

    pictures = read_contexts(write_pictures(tmp_path))
    recipes = {kind: read_recipe(kind) for kind in KINDS}
    teacher = hire(serve(answer=teach))
    return generate(pictures, recipes, teacher, requests_of(pictures, recipes, 99, 0.7))


def test_rows_are_in_the_order_of_the_pictures_and_every_rejection_is_counted(written):
    assert [(picture.id, kind) for picture, kind in written.of] == [
        (id_, kind) for id_ in '02' for kind in KINDS
    ]
    assert [row['id'] for row in written.rows] == ['0', '0', '0', '2', '2', '2']
    counts = dict(kept=2, refusal=1, doubled=1)
    assert written.reasons() == {kind: counts for kind in KINDS}
    assert {row['reason'] for row in written.rejected} == {'refusal', 'doubled'}
    assert all(row['answer'] and row['image'] for row in written.rejected)


@pytest.mark.slow
def test_the_report_counts_lengths_and_words(written, tmp_path):
    found = data_report.summarise(written)
    assert found['detail']['answer_words'] == dict(median=7, least=7, most=7)
    assert found['detail']['nouns'] == dict(table=2, cat=1, vase=1)
    assert found['detail']['verbs'] == dict(stands=2)
    assert found['conversation']['verbs'] == dict(holding=2)
    data_report.draw(written, found, tmp_path / 'report.png')
    assert (tmp_path / 'report.png').read_bytes()[:4] == b'\x89PNG'
    text = data_report.write_samples(written, seed=0)
    assert '## 2, detail\n\n```\nA vase on a table.\n' in text
    assert 'vase: [0.1, 0.25, 0.5, 0.123]' in text and '**gpt**: A vase stands' in text


def test_verbs_and_nouns_are_told_apart_by_what_stands_before():
    verbs, nouns = data_report.count_words(['Why is the old man holding two red cups to drink?'])
    assert dict(verbs) == dict(holding=1, drink=1)
    assert dict(nouns) == dict(man=1, cups=1)


def test_the_recipes_are_packed():
    assert len(list(OURS.glob('*/*.txt'))) >= 20
