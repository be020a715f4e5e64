"""Several processes, also where there is no GPU."""

import os
import subprocess
from typing import Any

import torch

from mmllava.errors import ConfigError

_LAUNCHED = dict(
    pytorch=dict(RANK='RANK', WORLD_SIZE='WORLD_SIZE', LOCAL_RANK='LOCAL_RANK'),
    slurm=dict(RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID'),
)


def prepare_processes(config: Any) -> None:
    """Starts the processes' group over gloo where there is no GPU; else mmengine does it all.

    mmengine 0.10.12's own start sets a CUDA device unasked (``RuntimeError: Found no
    NVIDIA driver``).

    Args:
        config: the run's.

    Raises:
        ConfigError: the launcher has not told this process who it is.
    """
    if config.launcher == 'none' or torch.cuda.is_available():
        return
    if not torch.distributed.is_initialized():
        _read_launcher(config.launcher)
        torch.distributed.init_process_group('gloo')


def _read_launcher(launcher: str) -> None:
    """Puts what a launcher says of this process where PyTorch reads it."""
    if launcher not in _LAUNCHED:
        raise ConfigError(
            f'--launcher {launcher} needs GPUs, and PyTorch {torch.__version__} sees none. Use '
            'pytorch (torchrun) or slurm.'
        )
    for name, variable in _LAUNCHED[launcher].items():
        if variable not in os.environ:
            start = 'torchrun' if launcher == 'pytorch' else 'srun'
            raise ConfigError(
                f'--launcher {launcher} expects {variable} in the environment, and it is not '
                f'there. Start with {start} (docs/training.md), or leave --launcher out.'
            )
        os.environ[name] = os.environ[variable]
    if launcher == 'slurm':
        os.environ.setdefault('MASTER_PORT', '29500')
        if 'MASTER_ADDR' not in os.environ:
            os.environ['MASTER_ADDR'] = _first_machine(os.environ.get('SLURM_NODELIST', ''))


def _first_machine(nodes: str) -> str:
    """The first name of Slurm's list, as scontrol writes it out."""
    command = ['scontrol', 'show', 'hostnames', nodes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise ConfigError(
            f'scontrol does not say which machine of SLURM_NODELIST={nodes!r} is the first '
            f'({error}). Set MASTER_ADDR to its name.'
        ) from error
