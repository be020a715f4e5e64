"""Defines the registries of scope ``mmllava``, children of mmpretrain's.

A config names our classes ``mmllava.X``; mmengine then imports this file itself, so a config needs
no ``custom_imports``. With ``default_scope='mmllava'`` a bare name is looked up here first, then in
mmpretrain's registry, then in mmengine's.
"""

from typing import Any

import mmengine.registry
import mmpretrain.registry
from mmengine.registry import DefaultScope

from mmllava.errors import unknown_name


class Registry(mmengine.registry.Registry):
    """Extends mmengine's registry in two ways.

    A config built through it may use bare names of our classes, also inside ``get_model``, which
    sets the scope to mmpretrain's. An unknown name is an error that suggests the closest ones.
    """

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """Builds a config; bare type names are looked up in scope ``mmllava`` first."""
        with DefaultScope.overwrite_default_scope('mmllava'):
            return super().build(cfg, *args, **kwargs)

    def get(self, key: str) -> Any:
        """Returns the class registered as ``key`` here or in a parent.

        Raises:
            ConfigError: neither this registry nor a parent has that name.
        """
        found = super().get(key)
        if found is None:
            known = set(self.module_dict)
            parent = self.parent
            while parent is not None:
                known |= set(parent.module_dict)
                parent = parent.parent
            raise unknown_name(f'{self.name} type', key.removeprefix('mmllava.'), known)
        return found


def _child(name: str, *locations: str) -> Registry:
    """Creates a child of mmpretrain's registry ``name``.

    A child's look-up does not import its parent's ``locations``, so they are repeated.
    """
    parent = getattr(mmpretrain.registry, name)
    return Registry(
        parent.name,
        parent=parent,
        scope='mmllava',
        locations=[*parent._locations, *locations],
    )


RUNNERS = _child('RUNNERS', 'mmllava.training.runner')
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS')
LOOPS = _child('LOOPS', 'mmllava.evaluation.test_loop', 'mmllava.training.loop')
HOOKS = _child(
    'HOOKS',
    'mmllava.evaluation.test_loop',
    'mmllava.training.hooks',
    'mmllava.training.generation_hook',
)
LOG_PROCESSORS = _child('LOG_PROCESSORS')
OPTIMIZERS = _child('OPTIMIZERS')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'mmllava.training.optim')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'mmllava.training.optim')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'mmllava.training.optim')
DATASETS = _child('DATASETS', 'mmllava.datasets', 'mmllava.benchmarks')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'mmllava.training.samplers')
TRANSFORMS = _child('TRANSFORMS', 'mmllava.datasets')
# mmpretrain has no child of this one.
FUNCTIONS = Registry(
    'function',
    parent=mmengine.registry.FUNCTIONS,
    scope='mmllava',
    locations=['mmllava.datasets'],
)
# mmpretrain has no child of this one either.
INFERENCERS = Registry(
    'inferencer',
    parent=mmengine.registry.INFERENCERS,
    scope='mmllava',
    locations=['mmllava.apis.inferencers'],
)
MODELS = _child('MODELS', 'mmllava.models')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS')
BATCH_AUGMENTS = _child('BATCH_AUGMENTS')
TASK_UTILS = _child('TASK_UTILS')
TOKENIZER = _child('TOKENIZER', 'mmllava.models')
METRICS = _child('METRICS', 'mmllava.benchmarks')
EVALUATORS = _child('EVALUATORS')
VISUALIZERS = _child('VISUALIZERS')
VISBACKENDS = _child('VISBACKENDS')
