"""The losses of the original, step by step, through tools/train.py's own path.

A step cut in two has the loss of one piece where both halves learn as many tokens: the mean
of their means is the mean over all. The recorded images learn 24, 24, 45 and 45 tokens and
the text 26, so that halves of the five are not to be had; there every sample comes twice a
step, which leaves the mean what it is, and each half has its own images.
"""

import pytest

from tests.helpers.training_run import TRAIN, losses, train, training_config, write_config
from tests.helpers.two_process import run_two

STAGES = {'projector': ['projector'], 'full': ['projector', 'language']}
WHOLE = {False: [0, 1, 2, 3], True: [0, 1, 2, 3, -1]}
HALVES = {False: ([0, 2], [1, 3]), True: ([0, 0, 2, 2, -1], [1, 1, 3, 3, -1])}
with_and_without_text = pytest.mark.parametrize(
    'with_text', [False, True], ids=['images', 'with_text']
)
packed_and_padded = pytest.mark.parametrize('pack', [False, True], ids=['padded', 'packed'])


def expected(stage, with_text):
    return pytest.approx(TRAIN[stage + '_with_text' * with_text], abs=1e-4)


def config_of(folder, stage, pack, order, batch_size):
    config = training_config(folder, dict(train=STAGES[stage]), order, batch_size=batch_size)
    config.model.pack = pack
    return config


@with_and_without_text
@packed_and_padded
@pytest.mark.parametrize('stage', STAGES)
def test_six_steps_have_the_losses_of_the_original(tmp_path, stage, pack, with_text):
    order = WHOLE[with_text]
    config = config_of(tmp_path, stage, pack, order, len(order))
    assert train(config, tmp_path) == 0
    assert losses(tmp_path) == expected(stage, with_text)


@with_and_without_text
@packed_and_padded
@pytest.mark.parametrize('stage', STAGES)
def test_steps_of_two_micro_batches_have_them_too(tmp_path, stage, pack, with_text):
    first, second = HALVES[with_text]
    config = config_of(tmp_path, stage, pack, first + second, len(first))
    config.optim_wrapper.accumulative_counts = 2
    assert train(config, tmp_path) == 0
    assert losses(tmp_path) == expected(stage, with_text)


@pytest.mark.slow
def test_two_processes_have_them_too(tmp_path):
    """In one test: starting processes takes longer than all they do."""
    folders, commands = {}, []
    for stage in STAGES:
        for pack in (False, True):
            for with_text in (False, True):
                folder = tmp_path / f'{stage}-{pack}-{with_text}'
                halves = HALVES[with_text]
                order = [k for pair in zip(*halves, strict=True) for k in pair]  # every other one
                config = config_of(folder, stage, pack, order, len(halves[0]))
                commands.append([write_config(config, folder)])
                folders[folder] = (stage, with_text)
    run_two(*commands)
    for folder, case in folders.items():
        assert losses(folder) == expected(*case), folder.name
