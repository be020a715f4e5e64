"""What other libraries changed is bridged, and only that."""

import sys
import types

import pytest

from mmllava import compat


@pytest.fixture
def module_file(tmp_path, monkeypatch):
    (tmp_path / 'watched.py').write_text('said = ["body"]\nprint("Could not import OneDL")\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop('watched', None)


def test_a_module_is_watched_from_before_to_after(module_file, capsys):
    said = []
    compat.when_imported('watched', compat.without_noise, lambda: said.append('after'))
    assert said == []
    import watched  # noqa: F401

    assert said == ['after']
    assert capsys.readouterr().out == ''


def test_a_module_that_is_there_already_is_answered_at_once(module_file):
    import watched  # noqa: F401

    said = []
    compat.when_imported('watched', after=lambda: said.append('after'))
    assert said == ['after']


def test_noise_is_kept_back_and_nothing_else(capsys):
    with compat.without_noise():
        print('Could not import OneDL')
        print('something else')
    assert capsys.readouterr().out == 'something else\n'


def test_names_that_transformers_dropped_are_there_and_say_so_when_called(monkeypatch):
    import transformers.pytorch_utils

    name = 'find_pruneable_heads_and_indices'
    monkeypatch.delattr(transformers.pytorch_utils, name, raising=False)
    monkeypatch.delattr(transformers.modeling_utils, name, raising=False)
    compat.restore_transformers_names()
    with pytest.raises(RuntimeError, match=rf'{name} is not in transformers .* transformers<5'):
        getattr(transformers.pytorch_utils, name)([])


def test_names_that_moved_are_taken_from_where_they_are(monkeypatch):
    import transformers
    import transformers.modeling_utils

    monkeypatch.delattr(transformers.modeling_utils, 'PretrainedConfig', raising=False)
    compat.restore_transformers_names()
    assert transformers.modeling_utils.PretrainedConfig is transformers.PretrainedConfig


def test_the_inner_tower_is_found_in_either_transformers():
    inner = types.SimpleNamespace()
    assert compat.inner_vision_model(types.SimpleNamespace(vision_model=inner)) is inner
    assert compat.inner_vision_model(inner) is inner


def test_asking_where_a_module_is_does_not_end_the_watch(module_file):
    import importlib.util

    said = []
    compat.when_imported('watched', after=lambda: said.append('after'))
    assert importlib.util.find_spec('watched') is not None
    assert said == []
    import watched  # noqa: F401

    assert said == ['after']
