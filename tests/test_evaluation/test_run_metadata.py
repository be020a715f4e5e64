"""run.json records how a score was made, and a work folder holds one protocol."""

import hashlib
import json
from types import SimpleNamespace

import pytest

from mmllava import io
from mmllava.checkpoints.storage.hub import TOKENIZER_FILES
from mmllava.errors import ConfigError, DataError
from mmllava.evaluation.run_metadata import (
    describe_tokenizer,
    environment,
    make_scoring,
    open_metadata,
)

PROTOCOL = dict(task='vqa', decoding=dict(max_new_tokens=4), data=dict(samples=3))
NOW = dict(torch='2.0', processes=1)


def test_a_run_starts_with_its_protocol_and_environment(tmp_path):
    metadata = open_metadata(tmp_path, PROTOCOL, NOW)
    assert metadata == dict(format=1, protocol=PROTOCOL, environments=[NOW])
    assert list(tmp_path.iterdir()) == []  # the loop writes it


def test_a_resumed_run_adds_its_environment_once_and_drops_the_old_scores(tmp_path):
    stored = open_metadata(tmp_path, PROTOCOL, NOW)
    io.write_json(tmp_path / 'run.json', dict(stored, counts=dict(samples=3), scores=dict(a=1)))
    assert open_metadata(tmp_path, PROTOCOL, NOW) == stored
    other = dict(NOW, processes=2)
    assert open_metadata(tmp_path, PROTOCOL, other)['environments'] == [NOW, other]


def test_a_run_of_another_protocol_is_refused_with_the_first_differences(tmp_path):
    many = dict(PROTOCOL, model={f'k{k}': k for k in range(12)})
    io.write_json(tmp_path / 'run.json', open_metadata(tmp_path, many, NOW))
    changed = dict(many, decoding=dict(max_new_tokens=5))
    with pytest.raises(ConfigError, match=r'protocol.*\n  decoding.max_new_tokens: 4 there'):
        open_metadata(tmp_path, changed, NOW)
    changed = dict(many, model={f'k{k}': -1 for k in range(12)})
    with pytest.raises(ConfigError) as error:
        open_metadata(tmp_path, changed, NOW)
    assert str(error.value).count(' there, -1 now') == 8 and '\n  and 4 more\n' in str(error.value)


def test_predictions_without_metadata_are_refused(tmp_path):
    (tmp_path / 'predictions-0.jsonl').write_text('')
    with pytest.raises(ConfigError, match=r'predictions without the run\.json that describes'):
        open_metadata(tmp_path, PROTOCOL, NOW)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [('{', 'is not JSON: Expecting'), ('[]', 'has no protocol'), ('{}', 'has no')],
)
def test_damaged_metadata_is_named(tmp_path, text, reason):
    (tmp_path / 'run.json').write_text(text)
    with pytest.raises(DataError, match=rf'run\.json {reason}.*Score the run again'):
        open_metadata(tmp_path, PROTOCOL, NOW)


def test_the_environment_is_the_provenance_with_the_session(tmp_path):
    found = environment(4, 2)
    assert found['commit'] == io.git_commit() and found['torch']
    assert (found['batch_size'], found['processes']) == (4, 2)
    assert json.loads(json.dumps(found)) == found


def test_scoring_names_settings_and_checksums_of_files_but_no_path(tmp_path):
    (tmp_path / 'truth.json').write_text('[]')
    metric = SimpleNamespace(ann_file=str(tmp_path / 'truth.json'), other_file='gone.json')
    config = dict(type='COCOCaption', ann_file=metric.ann_file, data_root='/x', top=(1, 2))
    assert make_scoring(config, [metric]) == dict(
        metrics=[dict(type='COCOCaption', top=[1, 2])],
        files={'truth.json': hashlib.sha256(b'[]').hexdigest()},
    )


def test_a_tokenizer_is_known_by_all_its_files(tmp_path):
    builder = SimpleNamespace(tokenizer_folder=tmp_path)
    model = SimpleNamespace(tokenizer=object(), prompt_builder=builder)
    assert describe_tokenizer(model) == dict(type='object')
    for name in (*TOKENIZER_FILES, 'config.json'):
        (tmp_path / name).write_text(name)
    found = describe_tokenizer(model)
    assert found.keys() == {'type', *TOKENIZER_FILES}
    (tmp_path / 'tokenizer_config.json').write_text('{"legacy": false}')
    changed = describe_tokenizer(model)
    assert [name for name in found if found[name] != changed[name]] == ['tokenizer_config.json']
