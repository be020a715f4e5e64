"""mmpretrain's own functions, made to serve our models.

``get_model``, ``inference_model`` and ``list_models`` stay mmpretrain's. Four
places in them know only mmpretrain's models, and have no hook; each gets a
branch for ours and is left as it was for every other model:

- the table of names: our metafile's names replace upstream's;
- ``load_checkpoint``, alone and in mmengine's ``Runner``: ours never runs code from
  a pickle, reads folders and safetensors, and refuses a checkpoint that does not fit;
- the caption and VQA inferencers: ours read pictures as LLaVA does;
- ``dispatch_model``, behind ``get_model(device_map=...)``: ours are readied for it.
"""

import functools
import inspect
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
)

__all__ = [
    'ImageCaptionInferencer',
    'VisualQuestionAnsweringInferencer',
    'apply',
    'get_model',
    'root',
]

PACKAGE = Path(__file__).parents[1]


def root() -> Path:
    """The folder that holds ``model-index.yml`` and ``configs/``.

    ``mmllava/.mim`` in an installed package, the repository in an editable one.
    """
    packed = PACKAGE / '.mim'
    return packed if packed.is_dir() else PACKAGE.parent


def apply() -> None:
    """Makes mmpretrain's functions serve our models. Calling it again changes nothing."""
    _take_over_names()
    _take_over_loading()
    _take_over_inferencers()
    _take_over_dispatch()


def _take_over_names() -> None:
    """Puts our models under their names in mmpretrain's hub, upstream's LLaVA included.

    Upstream's index is registered first: it registers itself lazily and fails
    for good if it meets a name that is taken.
    """
    from modelindex.load_model_index import load

    ModelHub._register_mmpretrain_models()
    index = load(str(root() / 'model-index.yml'))
    index.build_models_with_collections()
    for model in index.models:
        ModelHub._models_dict.pop(model.name.lower(), None)
    ModelHub.register_model_index(root() / 'model-index.yml', config_prefix=root())
    for model in index.models:
        entry = ModelHub._models_dict[model.name.lower()]
        if entry.weights and entry.weights.startswith('mmllava/'):  # they are in the package
            entry.weights = str(PACKAGE.parent / entry.weights)


def _take_over_loading() -> None:
    """Gives a model that has ``load_weights`` its own way in mmengine's ``load_checkpoint``.

    mmengine's falls back to an unpickler that runs code, knows no folders, and
    only prints when nothing fits.
    """
    for module in (mmengine.runner, mmengine.runner.checkpoint, mmpretrain.apis.base):
        original = inspect.unwrap(module.load_checkpoint)

        @functools.wraps(original)
        def load_checkpoint(
            model: Any, filename: Any, *args: Any, _original: Any = original, **kwargs: Any
        ) -> Any:
            if _is_our_model(model):
                _bare(model).load_weights(filename)
                return {}
            return _original(model, filename, *args, **kwargs)

        module.load_checkpoint = load_checkpoint
    _take_over_runner()


def _take_over_runner() -> None:
    """The same in mmengine's ``Runner``, for ``load_from`` and ``load_checkpoint``."""
    original = inspect.unwrap(mmengine.runner.Runner.load_checkpoint)

    @functools.wraps(original)
    def load_checkpoint(self: Any, filename: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_our_model(self.model):
            _bare(self.model).load_weights(filename)
            self._has_loaded = True
            return {}
        return original(self, filename, *args, **kwargs)

    mmengine.runner.Runner.load_checkpoint = load_checkpoint


def _take_over_dispatch() -> None:
    """Has our models choose their dtype and look for a GPU before accelerate moves them."""
    current = mmpretrain.apis.utils.dispatch_model
    # Not unwrapped: where accelerate is missing, upstream's wrapper is what says so.
    original = getattr(current, 'upstream', current)

    @functools.wraps(original)
    def dispatch_model(model: Any, device_map: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_our_model(model):
            model.prepare_device_map(device_map)
        return original(model, device_map, *args, **kwargs)

    dispatch_model.upstream = original
    mmpretrain.apis.utils.dispatch_model = dispatch_model


def _take_over_inferencers() -> None:
    """Lets mmpretrain's inferencer classes make ours when the model is one of ours."""
    for upstream, ours in (
        (ImageCaptionInferencer, 'CaptionInferencer'),
        (VisualQuestionAnsweringInferencer, 'VQAInferencer'),
    ):

        def __new__(
            cls: type,
            model: Any = None,
            *args: Any,
            _name: str = ours,
            _up: type = upstream,
            **kwargs: Any,
        ) -> Any:
            if cls is _up and model is not None and serves(model):
                from mmllava.apis import inferencers

                cls = getattr(inferencers, _name)
            return object.__new__(cls)

        # inference_model reads the class's signature to sort its keyword arguments
        __new__.__signature__ = inspect.signature(upstream.__init__)
        upstream.__new__ = __new__


def serves(model: Any) -> bool:
    """Whether a model is ours, or what its name, config or config file describes."""
    if isinstance(model, str) and model.lower() in ModelHub._models_dict:
        config = ModelHub._models_dict[model.lower()].config
        return str(getattr(config, 'filename', config)).startswith(str(root() / 'configs'))
    if isinstance(model, (str, Path)) and Path(model).suffix == '.py' and Path(model).is_file():
        model = Config.fromfile(model)
    if isinstance(model, Config):
        return str(model.get('model', {}).get('type', '')) == 'mmllava.Llava'
    return _is_our_model(model)


def _is_our_model(model: Any) -> bool:
    """Whether a model, in a wrapper or not, is ours."""
    return type(_bare(model)).__module__.split('.')[0] == 'mmllava'


def _bare(model: Any) -> Any:
    return getattr(model, 'module', model)
