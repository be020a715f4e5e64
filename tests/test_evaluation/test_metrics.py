"""COCOCaption in mmengine's evaluator: by name, with odd ids, repeats and unreadable pictures."""

import json

import pytest

from mmllava.errors import ConfigError, DataError
from mmllava.metrics import captions as room
from mmllava.registry import METRICS

REFERENCES = {1: ['a cat sits', 'one cat'], 2: ['a dog runs'], 'x7': ['two birds fly']}


@pytest.fixture
def build(tmp_path):
    """Builds the metric on a file of REFERENCES."""
    rows = [dict(image_id=k, caption=c) for k, texts in REFERENCES.items() for c in texts]
    path = tmp_path / 'refs.json'
    path.write_text(json.dumps(dict(images=[dict(id=k) for k in REFERENCES], annotations=rows)))
    return lambda **more: METRICS.build(dict(type='COCOCaption', ann_file=str(path), **more))


def sample(image_id, caption, **more):
    return dict(image_id=image_id, pred_caption=caption, **more)


def run(metric, samples):
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_the_bare_name_in_a_config_is_ours_and_scores_as_the_files_do(build):
    given = {1: 'a cat sits', 'x7': 'birds'}
    metric = build()
    assert type(metric).__module__ == 'mmllava.benchmarks.metric'
    result = run(metric, [sample(k, c) for k, c in given.items()])
    assert result == room.score_captions(REFERENCES, given).corpus


@pytest.mark.parametrize('image_id', [2, '2', '000000000002'])
def test_ids_as_datasets_give_them(build, image_id):
    assert run(build(), [sample(image_id, 'a dog runs')])['Bleu_1'] == pytest.approx(1, abs=1e-8)


def test_an_id_that_is_a_tensor(build):
    torch = pytest.importorskip('torch')
    assert run(build(), [sample(torch.tensor(2), 'a dog runs')])['ROUGE_L'] == pytest.approx(1)


def test_a_data_sample_does_as_well_as_a_dict(build):
    structures = pytest.importorskip('mmpretrain.structures')
    data_sample = structures.DataSample()
    data_sample.set_field('a dog runs', 'pred_caption')
    data_sample.set_field(2, 'image_id', field_type='metainfo')
    assert run(build(), [data_sample])['ROUGE_L'] == pytest.approx(1)


def test_a_sample_repeated_by_a_sampler_counts_once(build):
    once = [sample(1, 'a cat sits'), sample(2, 'x')]
    assert run(build(), [*once, sample('01', 'y')]) == run(build(), once)


def test_a_picture_that_failed_is_left_out_and_counted(build):
    good = [sample(1, 'a cat'), sample(2, 'a dog')]
    result = run(build(), [*good, sample('x7', None, error='cut short')])
    assert result.pop('failed_images') == 1
    assert result == run(build(), good)


def test_nothing_to_score_says_so(build):
    with pytest.raises(DataError, match='none of 2 samples has a caption'):
        run(build(), [sample(1, None), sample(2, None)])


def test_a_sample_without_an_id_is_refused(build):
    with pytest.raises(DataError, match="a sample has no 'image_id'"):
        build().process(None, [dict(pred_caption='a')])


def test_an_image_of_another_split_is_refused_with_its_batch(build):
    with pytest.raises(DataError, match='image 99 has a caption, but is not among the 3 images'):
        build().process(None, [sample(99, 'a')])


def test_an_unknown_metric_is_refused_when_built(build):
    with pytest.raises(ConfigError, match='unknown caption metric'):
        build(metrics=['Blue'])


def test_prefix_and_choice_of_metrics(build):
    metric = build(metrics=['ROUGE_L'], prefix='coco', collect_device='cpu')
    assert list(run(metric, [sample(1, 'a')])) == ['coco/ROUGE_L']


def test_a_scorer_that_fails_leaves_the_others(build, monkeypatch):
    def fail(references, captions):
        raise OSError('no memory')

    monkeypatch.setitem(room.SCORERS, 'CIDEr', (('CIDEr',), fail))
    result = run(build(), [sample(1, 'a')])
    assert list(result) == ['Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L']
