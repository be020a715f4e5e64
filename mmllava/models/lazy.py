"""Floor 2. A model that is only shapes until its weights come, in the dtype they are wanted."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel

from mmllava.errors import CheckpointError, unknown_name
from mmllava.models.checks import check_device

_DTYPES = ('float32', 'float16', 'bfloat16')


class LazyModel(BaseModel):
    """mmengine's ``BaseModel``, built on the meta device by a subclass's ``_build``.

    So a 7B model is there at once, and its weights are in memory once: they come
    from ``load_weights``, from ``init_cfg``, or at random when the model is moved
    to a device without any.

    Args:
        data_preprocessor: built already.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=PATH)`` loads.
        dtype: ``float32``, ``float16`` or ``bfloat16``; None is float32 on CPU
            and the checkpoint's half precision on GPU.
    """

    def __init__(self, data_preprocessor: Any, init_cfg: dict | None, dtype: str | None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if dtype is not None and dtype not in _DTYPES:
            raise unknown_name('dtype', str(dtype), _DTYPES)
        self.dtype = dtype and getattr(torch, dtype)

    @abstractmethod
    def _build(self) -> None:
        """Makes the model's parts on the current device."""

    @abstractmethod
    def load_weights(self, path: str | Path) -> None:
        """Replaces all weights by a checkpoint's."""

    @property
    def has_weights(self) -> bool:
        """Whether the parameters are more than shapes."""
        return not any(p.is_meta for p in self.parameters())

    def init_weights(self) -> None:
        """Loads ``init_cfg``'s checkpoint, or draws weights at random if it names none."""
        config = self.init_cfg or {}
        if config.get('type') == 'Pretrained':
            self.load_weights(config['checkpoint'])
        elif not self.has_weights:
            self._build()
            print_log('LLaVA has no checkpoint: its weights are random.', logger='current')

    def check_weights(self) -> None:
        """Makes the model ready to run.

        Raises:
            CheckpointError: it has no weights yet.
        """
        if not self.has_weights:
            raise CheckpointError(
                'the model has no weights yet. Call get_model with pretrained=PATH, or '
                'init_weights() for random ones.'
            )
        self._settle_dtype()

    def to(self, *args: Any, **kwargs: Any) -> 'LazyModel':
        """Moves the model; one without weights gets them first (`init_weights`).

        Raises:
            DeviceError: the device is not there.
        """
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.dtype):
                self.dtype = value
            elif isinstance(value, (str, int, torch.device)) and not isinstance(value, bool):
                check_device(value)
        if not self.has_weights:
            self.init_weights()
        super().to(*args, **kwargs)
        self._settle_dtype()
        return self

    def cuda(self, device: Any = None) -> 'LazyModel':
        """`to` a GPU."""
        return self.to('cuda' if device is None else device)

    def half(self) -> 'LazyModel':
        """`to` float16."""
        return self.to(torch.float16)

    def bfloat16(self) -> 'LazyModel':
        """`to` bfloat16."""
        return self.to(torch.bfloat16)

    def float(self) -> 'LazyModel':
        """`to` float32."""
        return self.to(torch.float32)

    def _settle_dtype(self) -> None:
        """Brings all weights to one dtype: the one asked for, or the one for this device."""
        parameters = list(self.parameters())
        dtype = self.dtype
        if dtype is None and parameters[0].device.type == 'cpu':
            dtype = torch.float32
        elif dtype is None:
            halves = (p.dtype for p in reversed(parameters) if p.dtype.itemsize == 2)
            dtype = next(halves, torch.float16)
        if any(p.dtype != dtype for p in parameters):
            super().to(dtype)
