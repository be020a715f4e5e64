"""A folder here is taken as it is; a hub id is fetched; everything else is told apart."""

import sys
import types

import pytest

from mmllava.checkpoints import prepare_merge
from mmllava.checkpoints.storage.hub import fetch, is_hub_id
from mmllava.errors import CheckpointError


class Hub(types.ModuleType):
    """Stands in for huggingface_hub: models by name, each a local folder."""

    def __init__(self, models):
        super().__init__('huggingface_hub')
        self.models = models
        self.offline = False
        self.asked = []

    def list_repo_files(self, source):
        if self.offline:
            raise ConnectionError('no network')
        if source not in self.models:
            raise type('RepositoryNotFoundError', (Exception,), {})('404\nrequest id 1')
        return [file.name for file in self.models[source].iterdir()]

    def snapshot_download(self, source, allow_patterns, local_files_only=False):
        if local_files_only and source not in self.models:
            raise type('LocalEntryNotFoundError', (Exception,), {})('not in the cache')
        self.asked.append((source, allow_patterns))
        return str(self.models[source])


@pytest.fixture
def hub(pair, monkeypatch):
    hub = Hub({'some/llama': pair.base, 'some/delta': pair.delta, 'some/clip': pair.tower})
    monkeypatch.setitem(sys.modules, 'huggingface_hub', hub)
    monkeypatch.chdir(pair.root)
    return hub


def test_a_local_folder_wins_over_the_hub(hub, pair):
    (pair.root / 'some/llama').mkdir(parents=True)
    assert fetch('some/llama').resolve() == pair.root / 'some/llama'
    assert hub.asked == []


@pytest.mark.parametrize('source', ['llama', './llama', '/no/such', 'a/b/c', '../a', '~/llama'])
def test_a_path_that_does_not_exist_is_not_looked_up_on_the_hub(hub, source):
    assert not is_hub_id(source)
    with pytest.raises(CheckpointError, match=r'does not exist, and it is not of the form org/n'):
        fetch(source)


def test_one_format_is_fetched_and_nothing_that_is_not_needed(hub, pair):
    fetch('some/llama')
    fetch('some/clip')
    (_, torch_files), (_, safetensors) = hub.asked
    assert 'pytorch_model-*.bin' in torch_files and 'model-*.safetensors' not in torch_files
    assert 'model.safetensors' in safetensors and 'pytorch_model.bin' not in safetensors
    assert 'tokenizer.model' in torch_files and 'mm_projector.bin' not in torch_files


def test_of_an_adapter_its_own_files_are_fetched(hub, pair):
    folder = pair.root / 'adapter'
    folder.mkdir()
    (folder / 'adapter_model.bin').write_text('x')
    hub.models['some/lora'] = folder
    fetch('some/lora')
    ((_, patterns),) = hub.asked
    assert {'adapter_config.json', 'non_lora_trainables.bin', 'config.json'} <= set(patterns)
    assert 'pytorch_model.bin' not in patterns


def test_an_unknown_model_is_told_with_the_way_out(hub):
    with pytest.raises(CheckpointError, match=r'no folder no/such here.*NotFoundError: 404\. Che'):
        fetch('no/such')


def test_without_a_network_the_cache_is_enough(hub, pair):
    hub.offline = True
    assert fetch('some/llama') == pair.base
    with pytest.raises(CheckpointError, match=r'not in the cache\. Check the network, or downl'):
        fetch('no/such')


def test_a_missing_hub_client_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(CheckpointError, match=r'pip install huggingface_hub'):
        fetch('some/llama')


def test_the_tower_comes_from_the_hub_where_the_delta_does(hub, pair):
    pair.set_config(pair.delta, mm_vision_tower='some/clip')
    assert prepare_merge('some/llama', 'some/delta').sources['tower'] == pair.tower
    assert 'tower' not in prepare_merge('some/llama', 'some/delta', to_folder=False).sources
    assert 'tower' not in prepare_merge(pair.base, pair.delta).sources
