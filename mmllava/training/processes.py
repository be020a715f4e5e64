"""Floor 3. Several processes, also where there is no GPU."""

from typing import Any

import torch


def prepare_processes(config: Any) -> None:
    """Starts the processes' group over gloo where there is no GPU; else mmengine does it all.

    mmengine 0.10.12's own start sets a CUDA device unasked (``RuntimeError: Found no
    NVIDIA driver``), and its wrapper names one (``DistributedDataParallel device_ids ...
    only work with ... GPU modules``).

    Args:
        config: the run's, changed in place.
    """
    if config.launcher == 'none' or torch.cuda.is_available():
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    config.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
