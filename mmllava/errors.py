"""Every error a user can cause, each message with three parts.

What was found, what was expected, and what to do about it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MMLlavaError(Exception):
    """Base of all errors raised on purpose; anything else is our bug."""


class ConfigError(MMLlavaError, ValueError):
    """A setting, alone or with another setting, cannot work."""


class PromptError(MMLlavaError, ValueError):
    """A conversation cannot be turned into token ids."""


class ShapeError(MMLlavaError, ValueError):
    """A tensor does not have the shape the docstring promises."""


class ImageError(MMLlavaError, ValueError):
    """An image is missing, is not an image, or is cut short."""


class CheckpointError(MMLlavaError, RuntimeError):
    """A weight file lacks a tensor, has one too many, or cannot be trusted."""


class DataError(MMLlavaError, ValueError):
    """An annotation or prediction file is not what its format says."""


class TrainingError(MMLlavaError, RuntimeError):
    """A training run cannot go on."""


class GenerationError(MMLlavaError, RuntimeError):
    """A model gives no answer: its logits are no numbers."""


class DeviceError(MMLlavaError, RuntimeError):
    """The machine does not have the device that was asked for."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Builds the error for a name that is not in a table.

    Example:
        >>> str(unknown_name('template', 'vicunna', ['vicuna_v1', 'llama_2']))
        "unknown template 'vicunna'. Did you mean vicuna_v1? Known: llama_2, vicuna_v1."
    """
    known = sorted(known)
    close = get_close_matches(name, known, n=3) or [k for k in known if name and name in k][:3]
    hint = f' Did you mean {" or ".join(close)}?' if close else ''
    return ConfigError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(known)}.")
