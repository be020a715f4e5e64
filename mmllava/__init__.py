"""mmllava: LLaVA for OpenMMLab.

The floors; a file imports from a lower floor or from its own folder:

    floor 4  apis                          a name or a path becomes a running model
    floor 3  training  generation  benchmarks   a model is changed, made to speak, examined
    floor 2  models  datasets              pictures and ids become losses; files become samples
    floor 1  prompts  images  evaluation  checkpoints       pure parts; none knows another
    floor 0  registry  structures  errors  compat  version

``import mmllava`` is light. Once mmpretrain is imported too, before or after,
its LLaVA names mean ours (`mmllava/apis/mmpretrain_patch.py`).
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


def _take_over() -> None:
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
compat.when_imported('mmpretrain', after=_take_over)
