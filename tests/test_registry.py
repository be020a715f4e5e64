"""Names in configs mean mmllava's classes first, and an unknown one is answered."""

import mmengine.registry
import mmpretrain.registry
import pytest
from mmengine.registry import DefaultScope

import mmllava.registry
from mmllava.errors import ConfigError
from mmllava.registry import DATASETS, FUNCTIONS, INFERENCERS, MODELS, TRANSFORMS, Registry

OURS = {name: value for name, value in vars(mmllava.registry).items() if name.isupper()}


def test_a_name_is_looked_up_here_then_in_mmpretrain_then_in_mmengine():
    assert TRANSFORMS.get('CLIPResize').__module__ == 'mmllava.datasets.transforms'
    assert TRANSFORMS.get('PackInputs').__module__.startswith('mmpretrain.')
    assert MODELS.get('BaseDataPreprocessor').__module__.startswith('mmengine.')
    assert FUNCTIONS.get('pseudo_collate').__module__.startswith('mmengine.')


def test_a_name_that_both_have_means_ours():
    assert MODELS.get('Llava').__module__ == 'mmllava.models.llava'
    assert mmpretrain.registry.MODELS.get('mmllava.Llava') is MODELS.get('Llava')
    assert mmpretrain.registry.MODELS.get('Llava') is not MODELS.get('Llava')


def test_bare_names_are_built_as_ours_under_mmpretrains_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        step = TRANSFORMS.build(dict(type='CLIPResize', size=56, aspect='pad'))
        assert DefaultScope.get_current_instance().scope_name == 'mmpretrain'
    assert type(step).__module__ == 'mmllava.datasets.transforms'


@pytest.mark.parametrize('key', ['Lava', 'mmllava.Lava'])
def test_an_unknown_name_is_answered_with_the_closest(key):
    with pytest.raises(ConfigError, match="unknown model type 'Lava'. Did you mean Llava"):
        MODELS.get(key)
    with pytest.raises(ConfigError, match="unknown dataset type 'COCOCaptions'.*COCOCaption"):
        DATASETS.get('COCOCaptions')


def test_every_registry_of_mmpretrain_has_a_child_here():
    theirs = {
        name
        for name, value in vars(mmpretrain.registry).items()
        if isinstance(value, mmengine.registry.Registry) and value.scope == 'mmpretrain'
    }
    assert len(theirs) > 20 and theirs <= set(OURS)
    assert all(isinstance(value, Registry) and value.scope == 'mmllava' for value in OURS.values())


def test_inferencers_have_the_names_of_those_they_replace():
    for name in ('ImageCaptionInferencer', 'VisualQuestionAnsweringInferencer'):
        ours = INFERENCERS.get(name)
        assert ours.__module__ == 'mmllava.apis.inferencers'
        assert name in {base.__name__ for base in ours.__mro__[1:]}
