"""mmllava: LLaVA for OpenMMLab.

A file imports from a lower floor or from its own folder:

    floor 5  evaluation integrations  long runs and reports; other people's harnesses
    floor 4  apis                     a name or a path becomes a running model
    floor 3  training benchmarks      a model is trained; a benchmark's files and scores
    floor 2  models datasets          images and ids -> loss, logits; files -> samples
    floor 1  prompts images metrics checkpoints generation teacher      parts without a model
    floor 0  errors structures version io compat registry

``import mmllava`` imports neither torch nor mmpretrain. Once mmpretrain is imported, before or
after, its LLaVA names mean our models (`mmllava/apis/mmpretrain_patch.py`).
"""

from typing import Any

from mmllava import compat
from mmllava.version import __version__

__all__ = [
    'ChatSession',
    '__version__',
    'get_model',
    'inference_model',
    'list_models',
    'load',
]

_FROM_MMPRETRAIN = ('get_model', 'inference_model', 'list_models')


def _patch_mmpretrain() -> None:
    from mmllava.apis import mmpretrain_patch

    mmpretrain_patch.apply()


def __getattr__(name: str) -> Any:
    if name in _FROM_MMPRETRAIN:
        import mmpretrain

        return getattr(mmpretrain, name)
    if name == 'ChatSession':
        from mmllava.apis.chat import ChatSession

        return ChatSession
    if name == 'load':
        from mmllava.apis.load import load

        return load
    raise AttributeError(f"module 'mmllava' has no attribute '{name}'")


compat.when_imported('mmcv.cnn', around=compat.without_noise)
compat.when_imported('mmpretrain.datasets', around=compat.without_noise)
compat.when_imported('mmpretrain.models', around=compat.with_transformers_names)
compat.when_imported('mmpretrain', after=_patch_mmpretrain)
