"""Caption files are checked, scores equal the recordings, failed scorers cost no other score."""

import json
import subprocess
import sys

import pytest

from mmllava.errors import ConfigError, DataError
from mmllava.metrics import captions as captions_module
from mmllava.metrics.captions import read_captions, read_references, score_captions
from tests.conftest import ROOT

OURS = ROOT / 'tests/golden/captions/scores.json'
SHARED = ROOT.parent / 'shared/golden/caption_metrics'
REFERENCES = {1: ['a cat sits', 'one cat'], 2: ['a dog runs'], 'x7': ['two birds fly']}
CAPTIONS = {1: 'a cat sits', 2: 'a dog'}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_corpus_and_images_are_equal_to_the_recording(tmp_path):
    content = json.loads(OURS.read_text(encoding='utf-8'))
    (tmp_path / 'preds.json').write_text(json.dumps(content['predictions']))
    scores = score_captions(read_references(OURS), read_captions(tmp_path / 'preds.json'))
    assert scores.corpus == pytest.approx(content['corpus'], abs=1e-9, rel=0)
    for name, each in content['per_image'].items():
        ours = [row[name] for row in scores.per_image.values()]
        assert ours == pytest.approx(each, abs=1e-9, rel=0), name


@pytest.mark.skipif(not SHARED.exists(), reason=f'no {SHARED.name} beside the checkout')
def test_corpus_and_images_are_equal_to_the_shared_recording():
    expected = json.loads((SHARED / 'coco_sample_expected.json').read_text(encoding='utf-8'))
    scores = score_captions(
        read_references(SHARED / 'coco_sample_gt.json'),
        read_captions(SHARED / 'coco_sample_results.json'),
    )
    assert list(scores.per_image) == expected['image_ids']
    for name, total in scores.corpus.items():
        key = 'Rouge' if name == 'ROUGE_L' else name
        assert total == pytest.approx(expected[key], abs=1e-9, rel=0), name
        ours = [row[name] for row in scores.per_image.values()]
        assert ours == pytest.approx(expected[f'per_image_{key}'], abs=1e-9, rel=0), name


def test_names_and_images_of_the_scores():
    scores = score_captions(REFERENCES, dict(reversed(CAPTIONS.items())))
    assert list(scores.corpus) == ['Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L', 'CIDEr']
    assert list(scores.per_image) == [
        1,
        2,
    ]  # 'x7' has no caption, so it does not count; order of the references
    assert list(scores.per_image[1]) == list(scores.corpus)
    assert scores.failed == {}


def test_a_caption_with_a_line_break_does_not_move_the_others():
    plain = score_captions(REFERENCES, {1: 'a cat sits', 2: 'a dog runs'})
    broken = score_captions(REFERENCES, {1: 'a cat\u2028sits\r', 2: 'a dog runs'})
    assert broken == plain


@pytest.mark.parametrize(('given', 'known'), [('000002', 2), ('2', 2), (2, 2), ('x7', 'x7')])
def test_a_number_is_the_same_image_with_and_without_zeros(given, known):
    assert list(score_captions(REFERENCES, {given: 'a'}).per_image) == [known]


def test_a_number_finds_an_id_that_is_text():
    assert list(score_captions({'12': ['a']}, {12: 'a'}).per_image) == ['12']


@pytest.mark.parametrize(
    ('captions', 'message'),
    [
        ({}, 'no captions to score'),
        ({1: None}, 'the caption of image 1 is None; expected a string'),
        ({1: 5}, 'the caption of image 1 is 5; expected a string'),
        ({9: 'a'}, r'image 9 has a caption, but is not among the 3 images with references \(1, 2'),
        ({1: 'a', '01': 'b'}, "image 1 has a second caption, as '01'"),
    ],
)
def test_captions_that_cannot_be_scored_are_refused(captions, message):
    with pytest.raises(DataError, match=message):
        score_captions(REFERENCES, captions)


def test_an_image_without_references_is_refused():
    with pytest.raises(DataError, match='image 3 has a caption but no reference'):
        score_captions({3: []}, {3: 'a'})


def test_an_unknown_metric_is_answered_with_the_closest():
    with pytest.raises(ConfigError, match=r"unknown caption metric 'CIDER'. Did you mean CIDEr"):
        score_captions(REFERENCES, CAPTIONS, ['CIDER'])


def test_a_scorer_that_fails_is_named_and_the_others_stay(monkeypatch):
    def fail(references, captions):
        raise ZeroDivisionError('by hand')

    monkeypatch.setitem(captions_module.SCORERS, 'ROUGE_L', (('ROUGE_L',), fail))
    scores = score_captions(REFERENCES, CAPTIONS)
    assert scores.failed == {'ROUGE_L': 'by hand'}
    assert list(scores.corpus) == ['Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'CIDEr']


def test_references_keep_the_order_of_the_images(tmp_path):
    rows = [dict(image_id=k, caption=f'of {k}') for k in ('b', 4, 'b')]
    path = write(tmp_path / 'r.json', dict(images=[dict(id=4), dict(id='b')], annotations=rows))
    assert read_references(path) == {4: ['of 4'], 'b': ['of b', 'of b']}
    assert list(read_references(path)) == [4, 'b']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('[{"image', 'is not JSON'),
        ([], 'has no list "annotations"; expected a COCO caption file'),
        (dict(annotations=[]), 'has no list "annotations"'),
        (dict(images=[{}], annotations=[{}]), '"images" must be a list of objects with an "id"'),
        (
            dict(annotations=[dict(image_id=1)]),
            r'annotations\[0\] is .*expected an object with "image_id" and "caption"',
        ),
        (
            dict(annotations=[dict(image_id=1, caption=2)]),
            r'annotations\[0\] is 2; expected a string',
        ),
        (
            dict(annotations=[dict(image_id=[1], caption='a')]),
            r'has the image id \[1\]; expected a number or a string',
        ),
    ],
)
def test_a_bad_reference_file_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_references(write(tmp_path / 'r.json', content))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'annotations': []}, r'holds an object; expected a list .* swapped\?'),
        ([], 'holds no captions'),
        ([5], r'\[0\] is 5; expected an object with "image_id" and "caption"'),
        ([dict(image_id=1, caption=None)], r'\[0\] is None; expected a string'),
        (
            [dict(image_id=True, caption='a')],
            'has the image id True; expected a number or a string',
        ),
        ([dict(image_id=1, caption='a')] * 2, r'\[1\]: image 1 has a second caption'),
    ],
)
def test_a_bad_prediction_file_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_captions(write(tmp_path / 'p.json', content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r'cannot read .*none.json: No such file'):
        read_captions(tmp_path / 'none.json')


def test_scoring_loads_no_heavy_package():
    code = 'import sys, mmllava.metrics.captions\n'
    code += 'print({"torch", "mmengine", "numpy"} & set(sys.modules))'
    out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert out.stdout.strip() == 'set()', out.stderr
