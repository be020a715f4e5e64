"""The val loop within a run, and the checkpoint that it finds the best."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric

from mmllava.registry import METRICS
from mmllava.training import checkpoint
from tests.conftest import MODELS, tiny_config
from tests.helpers.training_run import losses, train, training_config
from tests.test_training.test_resume import weights_of

SCORES = {2: 1.0, 4: 3.0, 6: 2.0}
OTHERS = 'best_eval-score_iter_2_hf', 'best_eval-score_iter_2.tar'  # a user's own
FULL = dict(train=['projector', 'language'])


@METRICS.register_module()
class Scripted(BaseMetric):
    """Gives the scores of a list, one a pass; draws random numbers as a careless metric might."""

    def __init__(self, scores):
        super().__init__()
        self.scores = list(scores)

    def process(self, data_batch, data_samples):
        torch.rand(3)
        self.results.append(len(data_samples))

    def compute_metrics(self, results):
        return {'eval/score': self.scores.pop(0)}


def validating(tmp_path, data, evaluator, task='caption', dataset=None, **hook):
    """Six steps, the val loop after every second; a checkpoint after each, two stay."""
    config = training_config(tmp_path / 'run', FULL)
    tiny = tiny_config('v1.5', task=task)
    config.model = tiny.model
    config.model.init_cfg = dict(type='Pretrained', checkpoint=str(MODELS / 'llava-v1.5'))
    config.model.generation_cfg = dict(max_new_tokens=4)
    captions = dict(type='mmpretrain.COCOCaption', data_root=str(data), ann_file='val.json')
    config.val_dataloader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        dataset={**tiny.test_dataloader.dataset, **(dataset or captions)},
    )
    config.val_evaluator, config.val_cfg = evaluator, dict()
    config.train_cfg.val_interval = 2
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2, **hook)
    return config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two of the recorded images with captions and questions, in COCO's formats."""
    folder = tmp_path_factory.mktemp('val')
    (folder / 'images').mkdir()
    for k in range(2):
        shutil.copy(MODELS / f'images/{k}.png', folder / f'images/COCO_val_{k:012}.png')
    samples = [dict(image=f'images/COCO_val_{k:012}.png', caption=['a cat']) for k in range(2)]
    (folder / 'val.json').write_text(json.dumps(samples))
    words = ('a cat on a mat', 'variety suitcase', 'be horse wall')
    notes = [
        dict(id=9 * k + j, image_id=k, caption=w) for k in range(2) for j, w in enumerate(words)
    ]
    (folder / 'truth.json').write_text(
        json.dumps(dict(images=[dict(id=k) for k in range(2)], annotations=notes))
    )
    ids = [dict(image_id=k, question_id=k) for k in range(2)]
    questions = [dict(i, question='Is it a cat?') for i in ids]
    (folder / 'questions.json').write_text(json.dumps(dict(questions=questions)))
    answers = [dict(i, answers=[dict(answer='yes')] * 10) for i in ids]
    (folder / 'answers.json').write_text(json.dumps(dict(annotations=answers)))
    return folder


def scores_of(work_dir, name):
    """step -> what the log says of a score."""
    lines = [
        json.loads(line)
        for file in work_dir.glob('*/vis_data/scalars.json')
        for line in file.read_text().splitlines()
    ]
    return {line['step']: line[name] for line in lines if name in line}


@pytest.fixture(scope='module')
def best(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('best')
    evaluator = dict(type='mmllava.Scripted', scores=list(SCORES.values()))
    (folder / 'run' / OTHERS[0]).mkdir(parents=True)
    (folder / 'run' / OTHERS[1]).write_text('packed')
    assert train(validating(folder, data, evaluator, save_best='eval/score'), folder) == 0
    return folder / 'run'


def test_the_best_checkpoint_stays_and_is_not_counted_among_the_last(best):
    names = sorted(p.name for p in best.glob('*iter_*'))
    assert names == sorted(['best_eval-score_iter_4', *OTHERS, 'iter_5', 'iter_6'])
    assert scores_of(best, 'eval/score') == SCORES
    said = json.loads((best / 'best.json').read_text())
    assert said == {'eval/score': dict(value=3.0, step=4, checkpoint='best_eval-score_iter_4')}


def test_the_best_checkpoint_has_the_random_numbers_that_training_goes_on_with(best):
    fourth, fifth = (
        checkpoint.read_state(best / name)['random'][0]['torch']
        for name in ('best_eval-score_iter_4', 'iter_5')
    )
    assert torch.equal(fourth, fifth)  # training draws none here, the val loop does


@pytest.mark.slow
def test_a_run_that_has_its_best_alone_is_not_begun_again(best, data, tmp_path, capsys):
    run = tmp_path / 'run'
    shutil.copytree(best, run)
    for step in (5, 6):
        shutil.rmtree(run / f'iter_{step}')
    scripted = dict(type='mmllava.Scripted', scores=[1.0, 1.0])
    config = validating(tmp_path, data, scripted, save_best='eval/score')
    assert train(config, tmp_path) == 2
    assert 'holds best_eval-score_iter_4 of an earlier run' in capsys.readouterr().err
    for log in list(run.glob('*/vis_data')):
        shutil.rmtree(log.parent)
    assert train(config, tmp_path, '--resume') == 0
    assert losses(run) == losses(best)[4:]


def test_a_val_loop_that_draws_random_numbers_does_not_change_training(best, data, tmp_path):
    config = validating(tmp_path, data, dict(type='mmllava.Scripted', scores=[]))
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        config.pop(key)
    assert train(config, tmp_path) == 0
    assert losses(best) == losses(tmp_path / 'run')


def test_the_best_checkpoint_holds_the_weights_of_its_step(best, data, tmp_path):
    config = validating(tmp_path, data, dict(type='mmllava.Scripted', scores=[1.0, 2.0]))
    config.train_cfg.max_epochs = 4
    assert train(config, tmp_path) == 0
    ours, fourth = weights_of(best / 'best_eval-score_iter_4'), weights_of(tmp_path / 'run/iter_4')
    assert ours.keys() == fourth.keys()
    assert all(torch.equal(ours[name], fourth[name]) for name in ours)


def test_a_resumed_run_knows_the_best_of_before(best, data, tmp_path):
    """From step 5 on: the score of step 6, lower than that of step 4, is not kept."""
    run = tmp_path / 'run'
    shutil.copytree(best, run)
    shutil.rmtree(run / 'iter_6')
    config = validating(
        tmp_path, data, dict(type='mmllava.Scripted', scores=[2.5]), save_best='eval/score'
    )
    assert train(config, tmp_path, '--resume') == 0
    assert [p.name for p in run.glob('best_*') if p.name not in OTHERS] == [
        'best_eval-score_iter_4'
    ]


def test_a_run_that_was_killed_before_its_val_loop_catches_up(best, data, tmp_path):
    """iter_6 is written before the val loop of step 6 is run."""
    run = tmp_path / 'run'
    shutil.copytree(best, run)
    scripted = dict(type='mmllava.Scripted', scores=[4.0])
    config = validating(tmp_path, data, scripted, save_best='eval/score')
    assert train(config, tmp_path, '--resume') == 0
    assert [p.name for p in run.glob('best_*') if p.name not in OTHERS] == [
        'best_eval-score_iter_6'
    ]


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (dict(save_best='CIDER'), "unknown score of save_best 'CIDER'"),
        (dict(save_best='eval/score', rule='more'), "unknown rule of SafeCheckpointHook 'more'"),
    ],
)
def test_a_score_or_rule_that_does_not_exist_is_told(data, tmp_path, capsys, hook, message):
    scripted = dict(type='mmllava.Scripted', scores=[1.0, 2.0, 3.0])
    assert train(validating(tmp_path, data, scripted, **hook), tmp_path) == 2
    assert message in capsys.readouterr().err


def test_save_best_without_a_val_loop_is_refused(tmp_path, capsys):
    config = training_config(tmp_path, FULL)
    config.default_hooks.checkpoint.save_best = 'CIDEr'
    assert train(config, tmp_path) == 2
    assert 'no val loop to give that score' in capsys.readouterr().err


@pytest.mark.slow
def test_captions_are_scored_within_a_run(data, tmp_path):
    evaluator = dict(type='mmllava.COCOCaption', ann_file=str(data / 'truth.json'))
    config = validating(tmp_path, data, evaluator, save_best='CIDEr')
    assert train(config, tmp_path) == 0
    found = scores_of(tmp_path / 'run', 'CIDEr')
    assert list(found) == [2, 4, 6]
    assert len(list((tmp_path / 'run').glob('best_CIDEr_iter_*'))) == 1
    value = json.loads((tmp_path / 'run/best.json').read_text())['CIDEr']['value']
    assert value == max(found.values())


@pytest.mark.slow
def test_answers_are_scored_within_a_run(data, tmp_path):
    dataset = dict(
        type='mmpretrain.COCOVQA',
        data_root=str(data),
        data_prefix='images',
        question_file='questions.json',
        ann_file='answers.json',
    )
    config = validating(tmp_path, data, dict(type='mmpretrain.VQAAcc'), 'vqa', dataset)
    pack = config.val_dataloader.dataset.pipeline[-1]
    pack.algorithm_keys = ['question', 'gt_answer', 'gt_answer_weight']
    assert train(config, tmp_path) == 0
    assert set(scores_of(tmp_path / 'run', 'VQA/acc')) == {2, 4, 6}


def captions(folder, **changes):
    """The val loop of `validating`, with its score."""
    evaluator = dict(type='mmllava.COCOCaption', ann_file=str(folder / 'truth.json'))
    return {'evaluator': {**evaluator, **changes}, 'save_best': 'CIDEr'}


def copied(data, tmp_path):
    return Path(shutil.copytree(data, tmp_path / 'data'))


def test_an_image_that_cannot_be_read_is_counted_and_the_run_goes_on(data, tmp_path):
    folder = copied(data, tmp_path)
    (folder / 'images/COCO_val_000000000001.png').write_bytes(b'no image')
    assert train(validating(tmp_path, folder, **captions(folder)), tmp_path) == 0
    assert scores_of(tmp_path / 'run', 'failed_images') == {2: 1.0, 4: 1.0, 6: 1.0}
    assert set(scores_of(tmp_path / 'run', 'CIDEr')) == {2, 4, 6}


def missing_all(folder, config):
    shutil.rmtree(folder / 'images')


def missing_truth(folder, config):
    (folder / 'truth.json').unlink()


def other_truth(folder, config):
    truth = json.loads((folder / 'truth.json').read_text())
    for note in truth['annotations']:
        note['image_id'] += 7
    for image in truth['images']:
        image['id'] += 7
    (folder / 'truth.json').write_text(json.dumps(truth))


def missing_one_of_another_metric(folder, config):
    (folder / 'images/COCO_val_000000000001.png').unlink()
    config.val_evaluator = dict(type='mmllava.Scripted', scores=[1.0, 2.0, 3.0])
    config.default_hooks.checkpoint.save_best = None


def other_size(folder, config):
    for step in config.val_dataloader.dataset.pipeline:
        if step.type == 'mmllava.CLIPResize':
            step.size = 336


def misspelt_score(folder, config):
    config.default_hooks.checkpoint.save_best = 'CIDER'


def misspelt_monitor(folder, config):
    config.custom_hooks.append(dict(type='EarlyStoppingHook', monitor='Cider', rule='greater'))


def followed_score(folder, config):
    config.param_scheduler = dict(type='ReduceOnPlateauLR', monitor='loss')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (missing_all, '2 of 2 images of the val loop are missing, as '),
        (missing_one_of_another_metric, '1 of 2 images of the val loop are missing, as '),
        (missing_truth, 'truth.json'),
        (other_truth, "image '000000000000' has a caption, but is not among the 2 images"),
        (other_size, 'in the val loop, CLIPResize has size=336'),
        (misspelt_score, "unknown score of the val loop 'CIDER'. Did you mean CIDEr"),
        (misspelt_monitor, "unknown score of the val loop 'Cider'."),
        (followed_score, "unknown score of the val loop 'loss'"),
    ],
)
def test_what_would_end_the_val_loop_is_told_before_the_first_step(
    data, tmp_path, capsys, change, message
):
    folder = copied(data, tmp_path)
    config = validating(tmp_path, folder, **captions(folder))
    change(folder, config)
    assert train(config, tmp_path) == 2
    assert message in capsys.readouterr().err
    assert not losses(tmp_path / 'run')
