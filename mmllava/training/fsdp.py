"""A model whose weights, gradients and sums are shared out over processes.

By PyTorch's ``fully_shard`` (FSDP2), and not by mmengine 0.10.12's ``FSDPStrategy``: that
wraps the older FSDP, which flattens what is trained and what is frozen into one tensor,
writes full checkpoints on a GPU only (``SIGSEGV`` over gloo) and cannot resume on today's
torch (``TypeError: unhashable type: 'dict'``).

Nor by DeepSpeed. Tried with 0.19.8, two processes over gloo: its stages equal plain copies within
1e-5 where all rows have images. Where one process has text alone, ZeRO-3 aborts (``collective
mismatch``: it gathers the tower when that runs, which it does in the other process only), and
ZeRO-2 learns something else (loss 7.374 for 7.280 after one step). mmengine's
``DeepSpeedStrategy`` does not start beside it (``No module named
'deepspeed.runtime.fp16.onebit'``), its first start on a CPU compiles C++ for a minute and a half,
and it reads checkpoints with ``weights_only=False``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from mmllava.errors import ConfigError, unknown_name
from mmllava.training.stages import Stage, cast_trainable_to_fp32

STRATEGIES = ('FSDP',)


def read_strategy(config: Any, stage: Stage) -> dict[str, Any] | None:
    """The settings of a config's ``strategy``; None where each process has a whole model.

    Args:
        config: the run's; its ``strategy`` is not there, or is ``dict(type='FSDP')``, and
            may say ``reshard_after_forward=False``: what was gathered stays from the forward
            pass to the backward pass, which takes memory and saves a third of the traffic.
        stage: what is trained.

    Raises:
        ConfigError: another type or setting, or it does not go with the rest.
    """
    strategy = config.get('strategy')
    if strategy is None:
        return None
    name = strategy.get('type')
    if 'deepspeed' in str(name).lower():
        raise ConfigError(
            f'strategy.type={name!r}: DeepSpeed is not used here. What its ZeRO-3 does, strategy='
            "dict(type='FSDP') does, and with reshard_after_forward=False ZeRO-2: configs/_base_/"
            'strategies has both, docs/training.md what else of a DeepSpeed file to write where.'
        )
    if name not in STRATEGIES:
        raise unknown_name('type of strategy', str(name), STRATEGIES)
    settings = {'reshard_after_forward': True, **strategy}
    settings.pop('type')
    for setting in set(settings) - {'reshard_after_forward'}:
        raise unknown_name('setting of strategy', setting, ['type', 'reshard_after_forward'])
    if config.get('launcher', 'none') == 'none':
        raise ConfigError(
            "strategy=dict(type='FSDP') shares a model out over processes, and this is one. Start "
            'it with `torchrun --nproc_per_node N tools/train.py ... --launcher pytorch`, or leave '
            'strategy out.'
        )
    if 'image_tokens' in stage.train and 'language' not in stage.train:
        raise ConfigError(
            'stage.train has image_tokens, which are some rows of a weight, and FSDP shards whole '
            "weights. Leave strategy out: little is trained then, and a process's copy fits."
        )
    if 'Amp' in str(config.optim_wrapper.get('type')):
        raise ConfigError(
            'AmpOptimWrapper scales the loss, which FSDP here does not. Set optim_wrapper.type='
            "'mmllava.BFloat16OptimWrapper', or leave strategy out."
        )
    asking = any(
        'GenerationHook' in str(hook.get('type')) for hook in config.get('custom_hooks', [])
    )
    validating = any(config.get(key) is not None for key in ('val_cfg', 'val_dataloader'))
    if validating or asking:
        raise ConfigError(
            'answers of different lengths would have the processes of FSDP wait for one another '
            'for ever. Leave val_cfg, val_dataloader, val_evaluator and GenerationHook out, and '
            'test a checkpoint with tools/test.py.'
        )
    if config.model.get('bits'):
        raise ConfigError(
            f'model.bits={config.model.bits} and strategy exclude each other: a packed weight is '
            'not shared out. Leave one of them out.'
        )
    return settings


def shard(
    model: nn.Module, device: str, half: bool, reshard_after_forward: bool = True
) -> nn.Module:
    """Shares a model out over all processes, in place; what is trained is float32.

    A block of the language model is gathered when it runs, and what is outside of the
    blocks from the forward pass to the end of the backward pass.

    Args:
        model: a `Llava` that a stage has prepared, on the CPU.
        device: ``cpu`` or ``cuda``.
        half: compute, and gather what is trained, in bfloat16; gradients are summed up
            in float32.
        reshard_after_forward: a block is gathered once more for its backward pass.
    """
    mesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
    dtype = torch.bfloat16 if half else None
    settings = dict(mesh=mesh, mp_policy=MixedPrecisionPolicy(dtype, torch.float32))
    for block in model.language.lm.model.layers:
        cast_trainable_to_fp32(block)  # one at a time: all of it may not fit on a device
        fully_shard(block, reshard_after_forward=reshard_after_forward, **settings)
    cast_trainable_to_fp32(model)
    fully_shard(model, **settings)
    model.to(device)  # buffers, and what is computed with them
    here = sum(p.to_local().numel() for p in model.parameters())
    print_log(f'FSDP: {here:,} of the parameters are in this process', logger='current')
    return model


def gather(tree: Any) -> Any:
    """A tree of dicts and lists with whole tensors in place of shared-out ones.

    Every process must call it; only the first gets the values, on the CPU.
    """
    main = get_rank() == 0

    def whole(value: Any) -> Any:
        if isinstance(value, DTensor):
            value = value.detach().full_tensor()
            return value.cpu() if main else value.new_empty(0)
        return value

    return tree_map(whole, tree)


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, where ``like`` is shared out."""
    if not isinstance(like, DTensor):
        return value
    value = value.to(like.device, like.dtype)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def share_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Converts what `gather` returned into the state of this process's optimizer."""
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    parts = {
        number: {
            # A copy: what was read lies in its file's pages, and the file will go.
            name: _part(value, parameters[number]).clone() if isinstance(value, Tensor) else value
            for name, value in own.items()
        }
        for number, own in state['state'].items()
    }
    return {**state, 'state': parts}


def _part(value: Tensor, parameter: Tensor) -> Tensor:
    """Its part of a sum over gradients; a count of steps is the same in every process."""
    return shard_like(value, parameter) if value.shape == parameter.shape else value
