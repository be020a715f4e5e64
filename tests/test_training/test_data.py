"""A training file through tools/train.py: the recorded losses, whatever else is in the file."""

import json
import shutil

import pytest

from tests.conftest import MODELS
from tests.helpers.training_run import TRAIN, losses, train, training_config
from tests.test_datasets.conftest import PIPELINE, talk

MISSING = dict(image='images/gone.png', conversations=talk('<image> Why?'))


def config_of(rows, tmp_path, batch_size, num_workers=0, **dataset):
    """A config whose samples come from a file, in the order of the sampler."""
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    config = training_config(tmp_path, dict(train=['projector', 'language']))
    config.train_dataloader = dict(
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=dict(type='mmllava.keep_lists'),
        sampler=dict(type='mmllava.ModalityLengthSampler'),
        dataset=dict(
            type='mmllava.InstructDataset',
            ann_file=str(tmp_path / 'rows.json'),
            img_root=str(MODELS),
            pipeline=PIPELINE,
            **dataset,
        ),
    )
    return config


@pytest.mark.parametrize('kind', ['full', 'full_with_text'])
def test_six_steps_from_a_file_have_the_losses_of_the_original(tmp_path, kind):
    text = [dict(conversations=TRAIN['text_sample'])] * kind.endswith('text')
    rows = [*TRAIN['batch'], *text]
    assert train(config_of(rows, tmp_path, len(rows)), tmp_path) == 0
    assert losses(tmp_path) == pytest.approx(TRAIN[kind], abs=1e-4)


def test_a_bad_row_is_named_in_the_log_of_a_run(tmp_path):
    rows = [TRAIN['batch'][0], MISSING]  # the first one is learned in the place of the second
    assert train(config_of(rows, tmp_path, 2, num_workers=1), tmp_path) == 0
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('rows.json[1]: no image at') == 1


def test_one_bad_row_too_many_ends_a_run_with_2(tmp_path, capsys):
    rows = [TRAIN['batch'][0], MISSING]
    assert train(config_of(rows, tmp_path, 2, max_skipped=0), tmp_path) == 2
    assert 'max_skipped=0 may be skipped' in capsys.readouterr().err


def test_a_row_whose_answer_lies_beyond_the_cut_is_named_and_no_loss_is_nan(tmp_path):
    long = dict(TRAIN['batch'][0], conversations=talk('<image> ' + 'why ' * 300))
    config = config_of([TRAIN['batch'][0], long], tmp_path, 1)
    config.model.max_tokens = 100
    assert train(config, tmp_path) == 0
    assert all(loss == loss for loss in losses(tmp_path))
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('rows.json[1]: ') == 1


def test_a_row_that_spells_a_word_without_a_row_in_the_model_is_skipped(tmp_path):
    """<im_start> is known to the tokenizer here, and the language model has 1,000 rows."""
    odd = dict(TRAIN['batch'][0], conversations=talk('<image> What is <im_start>?'))
    config = config_of([TRAIN['batch'][0], odd], tmp_path, 1)
    folder = tmp_path / 'words'
    shutil.copytree(MODELS / 'llava-v1.5', folder)
    (folder / 'added_tokens.json').write_text(json.dumps({'<im_start>': 1000}))
    config.model.tokenizer.name_or_path = str(folder)
    assert train(config, tmp_path) == 0
    (log,) = tmp_path.glob('*/*.log')
    assert log.read_text().count('rows.json[1]: the text spells token 1000') == 1
