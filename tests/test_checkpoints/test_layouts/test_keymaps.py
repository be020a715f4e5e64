"""The tables go both ways, and what they write is what the model is called."""

import pytest

from mmllava.checkpoints import read_entries
from mmllava.checkpoints.layouts.keymaps import (
    DROPPED,
    KNOWN,
    PREFIXES,
    TOWER,
    from_original,
    is_linear,
    to_original,
)
from mmllava.errors import ConfigError
from tests.test_checkpoints.conftest import GOLDEN

V1, V16 = GOLDEN / 'llava-v1-delta', GOLDEN / 'llava-v1.6'


@pytest.mark.parametrize('layout', sorted(set(PREFIXES) - {'clip'}))
@pytest.mark.parametrize('folder', [V1, V16])
def test_every_name_comes_back(layout, folder):
    names = list(read_entries(folder))
    linear = is_linear(names)
    assert linear == (folder == V1)
    if layout == 'hf' and linear:
        pytest.skip('transformers has no projector of one layer')
    written = [from_original(name, layout, linear) for name in names]
    if layout in ('mmpretrain', 'original'):  # mmpretrain's tower has a file of its own
        written = [w if TOWER not in n else None for w, n in zip(written, names, strict=True)]
        names = [n for n in names if TOWER not in n]
        written = [w for w in written if w]
    assert len(set(written)) == len(names)
    assert [to_original(name, layout, linear) for name in written] == names


@pytest.mark.parametrize('folder', [V1, V16])
def test_every_recorded_name_is_known(folder):
    names = [n for n in read_entries(folder) if not DROPPED.search(n)]
    assert all(KNOWN.fullmatch(name) for name in names)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('model.vision_tower.embeddings.class_embedding', f'{TOWER}embeddings.class_embedding'),
        ('vision_tower.vision_model.pre_layrnorm.bias', f'{TOWER}pre_layrnorm.bias'),
        ('vision_tower.pre_layrnorm.bias', f'{TOWER}pre_layrnorm.bias'),
        ('model.language_model.norm.weight', 'model.norm.weight'),
        ('lm_head.weight', 'lm_head.weight'),
        ('model.image_newline', 'model.image_newline'),
        ('model.multi_modal_projector.linear_2.bias', 'model.mm_projector.2.bias'),
    ],
)
def test_what_other_versions_of_transformers_write_is_read(name, expected):
    assert to_original(name, 'hf') == expected


def test_an_unknown_layout_is_named():
    with pytest.raises(ConfigError, match=r"unknown checkpoint layout 'hff'"):
        to_original('x', 'hff')
