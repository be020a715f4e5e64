"""Patches mmpretrain's and mmengine's own functions so that they serve our models.

``get_model``, ``inference_model`` and ``list_models`` stay mmpretrain's. The places below know
only mmpretrain's models and have no hook. Each gets a branch for ours and behaves as before
for every other model.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmengine.runner
import mmengine.runner.checkpoint
import mmpretrain.apis.base
import mmpretrain.apis.utils
from mmengine.config import Config
from mmpretrain.apis import (
    ImageCaptionInferencer,
    ModelHub,
    VisualQuestionAnsweringInferencer,
    get_model,
    list_models,
)

__all__ = [
    'PATCHES',
    'ImageCaptionInferencer',
    'ModelHub',
    'Patch',
    'VisualQuestionAnsweringInferencer',
    'apply',
    'get_model',
    'list_models',
    'root',
    'undo',
]

PACKAGE = Path(__file__).parents[1]
_ORIGINAL = '_before_mmllava'  # attribute of a replacement: the value that it took the place of


@dataclass(frozen=True)
class Patch:
    """One attribute of another library and its replacement.

    Args:
        owner: module or class.
        attribute: name in the owner.
        wrap: the owner's value -> the replacement.
        why: what the owner cannot do.
        until: the change of the other library with which the patch goes.
    """

    owner: Any
    attribute: str
    wrap: Callable[[Any], Any]
    why: str
    until: str


def apply() -> None:
    """Puts every patch in place; a patch that is in place stays as it is."""
    for patch in PATCHES:
        original = vars(patch.owner)[patch.attribute]
        if not hasattr(original, _ORIGINAL):
            replacement = patch.wrap(original)
            setattr(replacement, _ORIGINAL, original)
            setattr(patch.owner, patch.attribute, replacement)


def undo() -> None:
    """Restores the values that `apply` found."""
    for patch in PATCHES:
        replacement = vars(patch.owner)[patch.attribute]
        if hasattr(replacement, _ORIGINAL):
            setattr(patch.owner, patch.attribute, getattr(replacement, _ORIGINAL))


def root() -> Path:
    """Returns the folder that holds ``model-index.yml`` and ``configs/``.

    ``mmllava/.mim`` in an installed package, the repository in an editable one.
    """
    packed = PACKAGE / '.mim'
    return packed if packed.is_dir() else PACKAGE.parent


class _Models(dict):
    """Holds mmpretrain's models by name, ours among them. A plain dict takes no attribute."""


def _add_models(upstream: dict[str, Any]) -> _Models:
    """Adds our models to mmpretrain's, in place of its own LLaVA entries.

    mmpretrain's index is registered first: it registers itself lazily and fails for good if it
    meets a name that is taken.
    """
    from modelindex.load_model_index import load

    ModelHub._register_mmpretrain_models()
    models = _Models(upstream)
    index = load(str(root() / 'model-index.yml'))
    index.build_models_with_collections()
    for model in index.models:
        model.config = str(root() / model.config)
        if model.weights and model.weights.startswith('mmllava/'):  # they are in the package
            model.weights = str(PACKAGE.parent / model.weights)
        models[model.name.lower()] = model
    return models


def _load_safely(original: Callable) -> Callable:
    """Wraps mmengine's ``load_checkpoint(model, filename)``."""

    @functools.wraps(original)
    def load_checkpoint(model: Any, filename: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_our_model(model):
            return original(model, filename, *args, **kwargs)
        _unwrap(model).load_weights(filename)
        return {}

    return load_checkpoint


def _load_safely_in_runner(original: Callable) -> Callable:
    """Wraps the method of mmengine's ``Runner`` behind ``load_from``."""

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_our_model(self.model):
            return original(self, filename, *args, **kwargs)
        _unwrap(self.model).load_weights(filename)
        self._has_loaded = True
        return {}

    return load_checkpoint


def _choose_inferencer(original: Callable) -> Callable:
    """Wraps the ``__init__`` that mmpretrain's inferencers share.

    One that is made for a model of ours becomes the class of its name in our registry of
    inferencers. (A ``__new__`` would be the usual place, and cannot be taken back: after
    ``del``, ``object.__new__`` refuses the arguments of ``__init__``.)
    """

    @functools.wraps(original)
    def __init__(self: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        replaced = (ImageCaptionInferencer, VisualQuestionAnsweringInferencer)
        if type(self) in replaced and _serves(model):
            from mmllava.registry import INFERENCERS

            self.__class__ = INFERENCERS.get(f'mmllava.{type(self).__name__}')
        original(self, model, *args, **kwargs)

    return __init__


def _prepare_dispatch(original: Callable) -> Callable:
    """Wraps mmpretrain's ``dispatch_model``; its check for accelerate is copied along."""

    @functools.wraps(original)
    def dispatch_model(model: Any, device_map: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_our_model(model):
            model.prepare_device_map(device_map)
        return original(model, device_map, *args, **kwargs)

    return dispatch_model


def _serves(model: Any) -> bool:
    """Tells whether a model, or the one that a name, config or config file describes, is ours."""
    if isinstance(model, str) and ModelHub.has(model.lower()):
        model = ModelHub.get(model).config
    elif isinstance(model, (str, Path)) and Path(model).suffix == '.py' and Path(model).is_file():
        model = Config.fromfile(model)
    if isinstance(model, Config):
        return str(model.get('model', {}).get('type', '')) == 'mmllava.Llava'
    return _is_our_model(model)


def _is_our_model(model: Any) -> bool:
    """Tells whether a model, in a wrapper or not, is a `Llava`; nothing is imported for it."""
    return any(c.__module__ == 'mmllava.models.llava' for c in type(_unwrap(model)).__mro__)


def _unwrap(model: Any) -> Any:
    return getattr(model, 'module', model)


_WHY_LOAD = (
    'falls back to an unpickler that runs code, knows neither folders nor safetensors, and only '
    'prints when nothing fits'
)
_UNTIL_LOAD = 'mmengine asks the model to load its checkpoint'
#: in the order in which they are applied
PATCHES = (
    Patch(
        ModelHub,
        '_models_dict',
        _add_models,
        'refuses a name that is taken, and mmpretrain has LLaVA entries of its own',
        'mmpretrain lets another package replace a model',
    ),
    *(
        Patch(module, 'load_checkpoint', _load_safely, _WHY_LOAD, _UNTIL_LOAD)
        for module in (mmengine.runner, mmengine.runner.checkpoint, mmpretrain.apis.base)
    ),
    Patch(
        mmengine.runner.Runner, 'load_checkpoint', _load_safely_in_runner, _WHY_LOAD, _UNTIL_LOAD
    ),
    Patch(
        mmpretrain.apis.base.BaseInferencer,
        '__init__',
        _choose_inferencer,
        'reads images with OpenCV, and inference_model has a fixed list of classes',
        'inference_model takes its inferencers from a registry',
    ),
    Patch(
        mmpretrain.apis.utils,
        'dispatch_model',
        _prepare_dispatch,
        'hands the model to accelerate before it has weights, a dtype and devices that are there',
        'mmpretrain asks the model to prepare for a device map',
    ),
)
