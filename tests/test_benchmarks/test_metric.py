"""BenchmarkMetric and COCOCaption in mmengine's evaluator: odd ids, repeats, unreadable images."""

import json

import pytest

from mmllava.errors import ConfigError, DataError
from mmllava.metrics import captions
from mmllava.registry import METRICS
from tests.test_benchmarks.conftest import run

REFERENCES = {1: ['a cat sits', 'one cat'], 2: ['a dog runs'], 'x7': ['two birds fly']}


def test_a_failed_sample_is_wrong_and_counted(build_dataset, build_metric, tmp_path):
    scores = run(build_metric(build_dataset(), out_dir=str(tmp_path)), ['A', 'B', 'A', 'B', None])
    assert (scores['accuracy'], scores['failed']) == (80, 1)
    assert json.loads((tmp_path / 'scienceqa_result.json').read_text())['correct'] == 4
    assert [file.name for file in tmp_path.iterdir()] == ['scienceqa_result.json']


def test_a_gap_and_an_empty_set_are_refused(build_dataset, build_metric):
    with pytest.raises(DataError, match='1 of 5 samples have no prediction, the first is number 4'):
        run(build_metric(build_dataset()), ['A', 'B', 'A', 'B'])
    with pytest.raises(DataError, match='none of 5 samples has an answer'):
        run(build_metric(build_dataset()), [None] * 5)


def test_another_dataset_is_refused(build_metric):
    built = METRICS.build(dict(type='mmllava.BenchmarkMetric'))
    with pytest.raises(ConfigError, match='but the dataset is another'):
        run(built, ['A'])


@pytest.fixture
def build(tmp_path):
    """Builds the metric on a file of REFERENCES."""
    rows = [dict(image_id=k, caption=c) for k, texts in REFERENCES.items() for c in texts]
    path = tmp_path / 'refs.json'
    path.write_text(json.dumps(dict(images=[dict(id=k) for k in REFERENCES], annotations=rows)))
    return lambda **more: METRICS.build(dict(type='COCOCaption', ann_file=str(path), **more))


def sample(image_id, caption, **more):
    return dict(image_id=image_id, pred_caption=caption, **more)


def run_captions(metric, samples):
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_the_bare_name_in_a_config_is_ours_and_scores_as_the_files_do(build):
    given = {1: 'a cat sits', 'x7': 'birds'}
    metric = build()
    assert type(metric).__module__ == 'mmllava.benchmarks.metric'
    result = run_captions(metric, [sample(k, c) for k, c in given.items()])
    assert result == captions.score_captions(REFERENCES, given).corpus


@pytest.mark.parametrize('image_id', [2, '2', '000000000002'])
def test_ids_as_datasets_give_them(build, image_id):
    assert run_captions(build(), [sample(image_id, 'a dog runs')])['Bleu_1'] == pytest.approx(
        1, abs=1e-8
    )


def test_an_id_that_is_a_tensor(build):
    torch = pytest.importorskip('torch')
    assert run_captions(build(), [sample(torch.tensor(2), 'a dog runs')])[
        'ROUGE_L'
    ] == pytest.approx(1)


def test_a_data_sample_does_as_well_as_a_dict(build):
    structures = pytest.importorskip('mmpretrain.structures')
    data_sample = structures.DataSample()
    data_sample.set_field('a dog runs', 'pred_caption')
    data_sample.set_field(2, 'image_id', field_type='metainfo')
    assert run_captions(build(), [data_sample])['ROUGE_L'] == pytest.approx(1)


def test_a_sample_repeated_by_a_sampler_counts_once(build):
    once = [sample(1, 'a cat sits'), sample(2, 'x')]
    assert run_captions(build(), [*once, sample('01', 'y')]) == run_captions(build(), once)


def test_an_image_that_failed_is_left_out_and_counted(build):
    good = [sample(1, 'a cat'), sample(2, 'a dog')]
    result = run_captions(build(), [*good, sample('x7', None, error='cut short')])
    assert result.pop('failed_images') == 1
    assert result == run_captions(build(), good)


def test_nothing_to_score_says_so(build):
    with pytest.raises(DataError, match='none of 2 samples has a caption'):
        run_captions(build(), [sample(1, None), sample(2, None)])


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
    assert list(run_captions(metric, [sample(1, 'a')])) == ['coco/ROUGE_L']


def test_a_scorer_that_fails_leaves_the_others(build, monkeypatch):
    def fail(references, captions):
        raise OSError('no memory')

    monkeypatch.setitem(captions.SCORERS, 'CIDEr', (('CIDEr',), fail))
    result = run_captions(build(), [sample(1, 'a')])
    assert list(result) == ['Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L']
