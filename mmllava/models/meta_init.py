"""Keeps a model on the meta device until its weights come; chooses its dtype and device."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel

from mmllava.errors import CheckpointError, ConfigError, DeviceError, unknown_name
from mmllava.models.quantize import check_bits, is_quantized, quantize

_DEVICE_MAPS = ('auto', 'balanced', 'balanced_low_0', 'sequential')  # accelerate's
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
        bits: 4 or 8 quantises ``self.language`` on its way to a GPU.
    """

    def __init__(
        self,
        data_preprocessor: Any,
        init_cfg: dict | None,
        dtype: str | None,
        bits: int | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if dtype is not None and dtype not in _DTYPES:
            raise unknown_name('dtype', str(dtype), _DTYPES)
        check_bits(bits)
        self.dtype = dtype and getattr(torch, dtype)
        self.bits = bits
        self.mixed = False  # dtypes differ on purpose: training holds what it changes in float32

    @abstractmethod
    def _build(self) -> None:
        """Makes the model's parts on the current device."""

    @abstractmethod
    def load_weights(self, path: str | Path) -> None:
        """Replaces all weights by a checkpoint's."""

    @property
    def has_weights(self) -> bool:
        """Tells whether the parameters are more than shapes."""
        return self.is_dispatched or not any(p.is_meta for p in self.parameters())

    @property
    def is_dispatched(self) -> bool:
        """Tells whether accelerate has dispatched the parts; offloaded ones are on meta."""
        return getattr(self, 'hf_device_map', None) is not None

    @property
    def is_quantized(self) -> bool:
        """Tells whether the language model's blocks have layers of ``bits``."""
        return is_quantized(self.language)

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
            DeviceError: it was to be quantised, and is not on a GPU.
        """
        if not self.has_weights:
            raise CheckpointError(
                'the model has no weights yet. Call get_model with pretrained=PATH, or '
                'init_weights() for random ones.'
            )
        if self.bits and not self.is_quantized:
            raise DeviceError(f"bits={self.bits} needs a CUDA device. Move the model: .to('cuda').")
        if not self.is_dispatched:
            self.cast_to_compute_dtype(next(self.parameters()).device.type)

    def to(self, *args: Any, **kwargs: Any) -> 'LazyModel':
        """Moves the model; one without weights calls `init_weights` first.

        mmpretrain's ``get_model`` and mmengine's ``Runner`` build a model and move it, and expect
        that it runs then: they call nothing in between that could load or draw weights.

        Raises:
            DeviceError: the device is not there.
        """
        device = None
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.dtype):
                self.dtype = value
            elif isinstance(value, (str, int, torch.device)) and not isinstance(value, bool):
                check_device(value)
                device = torch.device(value).type
        if device not in (None, 'cuda') and self.bits and not self.is_quantized:
            raise DeviceError(
                f"bits={self.bits} runs on a CUDA device, and '{device}' was asked for. Leave bits "
                "out, or use device='cuda'."
            )
        if not self.has_weights:
            self.init_weights()
        if device and self.bits:
            self.quantize('cuda')
        super().to(*args, **kwargs)
        self.cast_to_compute_dtype(next(self.parameters()).device.type)
        return self

    def quantize(self, device: str) -> None:
        """Puts layers of ``bits`` in the language model's blocks; they are packed as they move.

        Args:
            device: where the model will run; to answer, on a GPU only, and to train on a
                CPU too.
        """
        if not self.is_quantized:
            self.cast_to_compute_dtype(device)
            quantize(self.language, self.bits, next(self.parameters()).dtype)

    def prepare_device_map(self, device_map: str | dict[str, Any]) -> None:
        """Makes the model ready for accelerate, which puts its parts on several devices.

        Args:
            device_map: ``auto`` and the other words of accelerate's, which need a GPU;
                or part -> ``cpu``, ``disk``, ``cuda:0``, ...

        Raises:
            DeviceError: a GPU that is not there.
            ConfigError: another word, or the model is quantised.
        """
        if self.bits:
            raise ConfigError(
                f'bits={self.bits} and device_map={device_map!r} exclude each other. Use device='
                "'cuda', or leave bits out."
            )
        if not isinstance(device_map, dict) and device_map not in _DEVICE_MAPS:
            raise unknown_name('device_map', str(device_map), _DEVICE_MAPS)
        if not isinstance(device_map, dict) and not torch.cuda.is_available():
            raise DeviceError(
                f'device_map={device_map!r} spreads a model over GPUs and CPU, and PyTorch '
                f"{torch.__version__} sees no GPU. Use device='cpu', or a map of your own."
            )
        devices = device_map.values() if isinstance(device_map, dict) else ['cuda']
        gpus = [device for device in devices if device not in ('cpu', 'disk')]
        for device in gpus:
            check_device(device)
        if not self.has_weights:
            self.init_weights()
        self.cast_to_compute_dtype('cuda' if gpus else 'cpu')

    def cpu(self) -> 'LazyModel':
        """`to` the CPU."""
        return self.to('cpu')

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

    def cast_to_compute_dtype(self, device: str) -> None:
        """Brings all weights to one dtype: the one asked for, or the one for a device's type.

        What bitsandbytes packed is integers, and stays.
        """
        if self.mixed:
            return
        parameters = [p for p in self.parameters() if p.is_floating_point()]
        dtype = self.dtype
        if dtype is None and device == 'cpu':
            dtype = torch.float32
        elif dtype is None:
            halves = (p.dtype for p in reversed(parameters) if p.dtype.itemsize == 2)
            dtype = next(halves, torch.float16)
        if any(p.dtype != dtype for p in parameters):
            super().to(dtype)


def check_device(device: Any) -> None:
    """Refuses a CUDA device that is not there.

    Raises:
        DeviceError: says how many there are.
    """
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"'{device}' is no device; expected cpu, cuda or cuda:1.") from error
    if device.type != 'cuda':
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceError(
            f"device '{device}' was asked for, and PyTorch {torch.__version__} sees {count} CUDA "
            "devices. Use device='cpu', or a machine (and a PyTorch build) with CUDA."
        )
