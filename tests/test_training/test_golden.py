"""The losses of the original, step by step, through tools/train.py's own path."""

import pytest

from tests.test_training.tiny import TRAIN, losses, train, training_config

STAGES = {'projector': ['projector'], 'full': ['projector', 'language']}


@pytest.mark.parametrize('with_text', [False, True], ids=['pictures', 'with_text'])
@pytest.mark.parametrize('pack', [False, True], ids=['padded', 'packed'])
@pytest.mark.parametrize('stage', STAGES)
def test_six_steps_have_the_losses_of_the_original(tmp_path, stage, pack, with_text):
    order = [0, 1, 2, 3, *[-1] * with_text]
    config = training_config(tmp_path, dict(train=STAGES[stage]), order, batch_size=len(order))
    config.model.pack = pack
    assert train(config, tmp_path) == 0
    expected = TRAIN[stage + '_with_text' * with_text]
    assert losses(tmp_path) == pytest.approx(expected, abs=1e-4)
