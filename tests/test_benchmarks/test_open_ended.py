"""MM-Vet and LLaVA-Bench: files read, answers written for a judge, bad files refused."""

import pytest

from mmllava.benchmarks.open_ended import read_llava_bench, read_mmvet
from mmllava.benchmarks.registry import BENCHMARKS
from tests.conftest import ROOT
from tests.test_benchmarks.conftest import drop

COCO_BENCH = ROOT.parent / 'shared/data/llava_bench_coco/qa90_questions.jsonl'
READERS = {'mm-vet': ('mm-vet', lambda f: read_mmvet(f / 'mm-vet.json', f))}


def test_answers_for_a_judge(made):
    folder = made / 'llava-bench-in-the-wild'
    items = read_llava_bench(folder / 'questions.jsonl', folder / 'images')
    rows = BENCHMARKS['llava_bench'].files(items, ['A square.', 'x', None], 'llava-v1.5-7b')
    (row, *_) = rows['answers.jsonl']
    assert row['model_id'] == 'llava-v1.5-7b'
    assert set(row) == {'question_id', 'prompt', 'text', 'answer_id', 'model_id', 'metadata'}
    assert (row['question_id'], row['prompt'], row['text']) == (0, 'What is 0?', 'A square.')
    assert READERS['mm-vet'][1](made / 'mm-vet')[0].id == 'v1_0'


@pytest.mark.skipif(not COCO_BENCH.is_file(), reason=f'no file at {COCO_BENCH}')
def test_the_released_questions_of_llava_bench_are_read():
    items = read_llava_bench(COCO_BENCH, ROOT, image_name='COCO_val2014_{}')
    assert (len(items), len({item.image for item in items})) == (90, 30)


@pytest.mark.parametrize(
    ('name', 'file', 'change', 'message'),
    [
        ('mm-vet', 'mm-vet.json', drop(None, 'question'), 'v1_1 has no "question"'),
    ],
)
def test_a_bad_file_is_refused_with_file_record_and_fix(refused, name, file, change, message):
    folder, read = READERS[name]
    refused(folder, file, change, message, read)
