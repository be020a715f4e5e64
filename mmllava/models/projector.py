"""From vision features to word-embedding space."""

from torch import Tensor, nn

from mmllava.errors import ConfigError, ShapeError
from mmllava.registry import MODELS


@MODELS.register_module()
class MlpProjector(nn.Module):
    """Linear layers with (exact) GELU between them.

    ``depth=1`` is LLaVA v0 and v1; ``depth=2`` is v1.5 and v1.6. Parameter
    names (``layers.0``, ``layers.2``) match the released ``mm_projector``.

    Args:
        in_dim: channels of one patch feature; 1024 for CLIP ViT-L.
        out_dim: channels of one token embedding; 4096 for a 7B LLaMA.
        depth: number of linear layers, at least 1.

    Shape:
        input ``(P, N, in_dim)``: P images or tiles, N patches each;
        output ``(P, N, out_dim)``, in the dtype of the input.

    Raises:
        ConfigError: a size is below 1.
        ShapeError: in forward, the input's last dimension is not ``in_dim``.
    """

    def __init__(self, in_dim: int, out_dim: int, depth: int = 2) -> None:
        super().__init__()
        for name, value in dict(in_dim=in_dim, out_dim=out_dim, depth=depth).items():
            if value < 1:
                raise ConfigError(f'MlpProjector needs {name} >= 1, got {name}={value}.')
        self.in_dim, self.depth = in_dim, depth
        layers: list[nn.Module] = [nn.Linear(in_dim, out_dim)]
        for _ in range(depth - 1):
            layers += [nn.GELU(), nn.Linear(out_dim, out_dim)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Projects ``(P, N, in_dim)`` to ``(P, N, out_dim)``."""
        if features.shape[-1] != self.in_dim:
            raise ShapeError(
                f'MlpProjector got features {tuple(features.shape)} but in_dim={self.in_dim}. '
                f'Use a vision tower with {self.in_dim} channels, or the projector that was '
                'trained on this one.'
            )
        return self.layers(features)
