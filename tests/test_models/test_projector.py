"""The projector: one linear layer or two, and what is refused."""

import pytest
import torch
from torch import nn

from mmllava.errors import ConfigError, ShapeError
from mmllava.models import MlpProjector


def test_a_linear_projector_is_one_layer_and_v1_5_has_gelu_between_two():
    assert [type(layer) for layer in MlpProjector(3, 4, depth=1).layers] == [nn.Linear]
    layers = MlpProjector(3, 4, depth=2).layers
    assert [type(layer) for layer in layers] == [nn.Linear, nn.GELU, nn.Linear]
    assert layers[1].approximate == 'none'  # exact, as the original's


def test_a_projector_refuses_other_channels_and_no_layers():
    with pytest.raises(ShapeError, match=r'features \(1, 2, 5\) but in_dim=3'):
        MlpProjector(3, 4)(torch.zeros(1, 2, 5))
    with pytest.raises(ConfigError, match='needs depth >= 1, got depth=0'):
        MlpProjector(3, 4, depth=0)
