"""Every benchmark has protocols with a source, and they format its questions."""

import pytest

from mmllava.benchmarks.protocols import PROTOCOLS
from mmllava.benchmarks.registry import BENCHMARKS
from mmllava.errors import ConfigError


def test_every_set_has_protocols_and_every_protocol_a_set():
    assert set(PROTOCOLS) == set(BENCHMARKS)
    for protocols in PROTOCOLS.values():
        assert all(protocol.source for protocol in protocols.values())


def test_a_question_is_written_as_the_preset_says(build_dataset):
    letter = "\nAnswer with the option's letter from the given choices directly."
    asked = build_dataset()[1]['data_samples'].get('question')
    assert asked.startswith('Context: The square is small.\nQuestion: ')
    assert asked.endswith('(C) blue' + letter)
    asked = build_dataset(preset='lmms-eval')[1]['data_samples'].get('question')
    assert asked == (
        'Context: The square is small.\nWhich colour is number 1?\nA. red\nB. green\nC. blue'
        + letter
    )
    with pytest.raises(ConfigError, match="unknown preset of scienceqa 'lms-eval'. Did you mean"):
        build_dataset(preset='lms-eval')
