"""Compares the settings of a config with what the class takes that they are for."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmllava.errors import ConfigError, MMLlavaError, unknown_name

#: what the runner gives where a config does not
_OF_THE_RUNNER = (
    'self',
    'runner',
    'dataloader',
    'evaluator',
    'optimizer',
    'params',
    'dataset',
    'batch_size',
    'param_name',
    'save_dir',
)


@contextmanager
def building(what: str) -> Iterator[None]:
    """Has what a library says of a setting end as an error of ours."""
    try:
        yield
    except MMLlavaError:
        raise
    except (AssertionError, AttributeError, ImportError, KeyError, TypeError, ValueError) as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise ConfigError(f'{what} cannot be built: {reason}. Change that setting.') from error


def resolve(registry: Any, kind: Any) -> type:
    """The class of a ``type``, which may be one already."""
    return registry.get(kind) if isinstance(kind, str) else kind


def check_settings(
    where: str, registry: Any, given: Mapping[str, Any], also: Sequence[str] = ()
) -> type:
    """Compares settings with what a class takes; returns the class."""
    if not isinstance(given, Mapping) or given.get('type') is None:
        raise ConfigError(f'{where} is {given!r}, expected dict(type=...) with its settings.')
    kind = resolve(registry, given['type'])
    known, any_name = _parameters(kind)
    name = getattr(kind, '__name__', str(kind))
    for setting, value in given.items():
        if setting in ('type', '_scope_', *also):
            continue
        if setting not in known:
            if any_name:
                continue
            names = {*known, *also} - {*_OF_THE_RUNNER}
            raise unknown_name(f'setting of {name} ({where})', setting, names)
        check_value(f'{where}.{setting}', value, known[setting])
    for setting, parameter in known.items():
        if parameter.default is parameter.empty and setting not in {*given, *_OF_THE_RUNNER}:
            raise ConfigError(f'{where} is a {name} without {setting}, which it needs. Add it.')
    return kind


def _parameters(kind: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Lists the keyword arguments of a class, and tells whether it takes any other name too."""
    found: dict[str, inspect.Parameter] = {}
    for owner in kind.__mro__ if isinstance(kind, type) else [kind]:
        if isinstance(owner, type) and '__init__' not in vars(owner):
            continue
        if owner is object:
            return found, False
        signature = inspect.signature(owner.__init__ if isinstance(owner, type) else owner)
        passed_on = False
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                passed_on = True
            elif parameter.kind is not parameter.VAR_POSITIONAL and name != 'self':
                found.setdefault(name, parameter)
        if not passed_on:
            return found, False
    return found, True


def check_value(where: str, value: Any, parameter: inspect.Parameter) -> None:
    """Refuses text where a class takes a number, and a number that is none."""
    default, kind = parameter.default, parameter.annotation
    number = (isinstance(default, (int, float)) and not isinstance(default, bool)) or kind in (
        int,
        float,
        'int',
        'float',
    )
    values = value if isinstance(value, (list, tuple)) else [value]
    wanted = None
    if isinstance(default, bool) and not isinstance(value, (bool, int)):
        wanted = 'True or False'
    elif number and any(isinstance(v, (str, Mapping)) for v in values):
        wanted = 'a number'
    elif isinstance(default, tuple) and any(isinstance(v, str) for v in values):
        wanted = f'numbers, as {default}'
    elif any(isinstance(v, float) and math.isnan(v) for v in values):
        wanted = 'a number'
    if wanted:
        raise ConfigError(f'{where} is {value!r}, expected {wanted}.')


def check_names(kind: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise unknown_name(kind, name, known)


def is_number(value: Any, least: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= least
    )
