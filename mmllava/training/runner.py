"""mmengine's runner, with a stage, and with checkpoints that a kill cannot harm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier
from mmengine.hooks import EarlyStoppingHook, ParamSchedulerHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmllava.datasets.instruct import InstructDataset
from mmllava.datasets.transforms import CLIPResize
from mmllava.errors import CheckpointError, ConfigError
from mmllava.models.fingerprints import tower_mark
from mmllava.models.hf_config import to_llava_config
from mmllava.models.sample_encoder import SampleEncoder
from mmllava.registry import HOOKS, RUNNERS
from mmllava.training import checkpoint, fsdp, resume, rng, stages
from mmllava.training.config_check import check_config
from mmllava.training.config_settings import building, resolve
from mmllava.training.inspect_data import check_settings, check_validation
from mmllava.training.loop import StepLoop

_OF_THE_COMMAND = ('launcher', 'load_from', 'resume')
_PLAIN = (str, int, float, bool, type(None))


@RUNNERS.register_module()
class TrainRunner(Runner):
    """mmengine's ``Runner``. Different are three things.

    - Weights come first, then the config's ``stage`` freezes and adds adapters, then the
      model is wrapped and the optimizer is built: mmengine loads weights after that, and
      an optimizer would hold parameters that the model no longer has.
    - A checkpoint is a folder (`mmllava.training.checkpoint`), written beside and renamed.
    - Resuming restores the random numbers of every process too, and refuses a run that
      would not go on where it was.
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> Runner:
        """Builds the runner of a config.

        Raises:
            ConfigError: `check_config` refuses it.
        """
        check_config(cfg)
        return super().from_cfg(cfg)

    def setup_env(self, env_cfg: dict) -> None:
        """Starts the processes, and has the work folder hold whole checkpoints only."""
        super().setup_env(env_cfg)
        if self.rank == 0:
            folder = Path(self.work_dir)
            checkpoint.remove_leftovers(folder, alone=resume.lock_work_dir(folder))
        barrier()

    def set_randomness(self, seed: int | None, *args: Any, **kwargs: Any) -> None:
        """Seeds the run; one that goes on, and whose config has no seed, as it was seeded.

        Raises:
            ConfigError: each process would have a seed of its own.
        """
        if kwargs.get('diff_rank_seed') or (args and args[0]):
            raise ConfigError(
                'randomness has diff_rank_seed=True, so that each process would draw an order of '
                'the data of its own, and some samples come twice, some never. Leave it out.'
            )
        if seed is None:
            seed = resume.seed_to_go_on(self.cfg, self.work_dir)
        super().set_randomness(seed, *args, **kwargs)

    def build_model(self, model: Any) -> nn.Module:
        """Builds, loads and prepares the model.

        Raises:
            ConfigError: ``stage`` is missing or wrong.
            CheckpointError: the weights do not fit.
        """
        stage = stages.read_stage(self.cfg.get('stage'))
        self.strategy = fsdp.read_strategy(self.cfg, stage)
        model = super().build_model(model)
        stages.load_weights(model)
        stages.apply(model, stage, get_device(), hold=self.strategy is None)
        self._base, self._tower = checkpoint.describe_base(model), tower_mark(model)
        return model

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """On its device, and for several processes: a copy in each, or shared out."""
        if self.strategy is None:
            if model_wrapper_cfg is None and not torch.cuda.is_available():
                # mmengine's own names a CUDA device.
                model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
            model = super().wrap_model(model_wrapper_cfg, model)
        else:
            half = 'BFloat16' in str(self.cfg.optim_wrapper.get('type'))
            model = fsdp.shard(model, get_device(), half, **self.strategy)
        bare = model.module if is_model_wrapper(model) else model
        self.logger.info(stages.describe(bare))
        return model

    def _init_model_weights(self) -> None:
        """Nothing: `build_model` has done it, and the wrapper of several processes the rest."""

    @property
    def bare_model(self) -> nn.Module:
        """The model without a wrapper."""
        return self.model.module if is_model_wrapper(self.model) else self.model

    def build_train_loop(self, loop: Any) -> StepLoop:
        """Builds the loop, and has `InstructDataset` encode its samples in its workers.

        A row whose answers all lie beyond the cut would have no loss, NaN, and ruin the weights;
        it is skipped, counted and named like any other bad row.

        Raises:
            ConfigError: the config says of data and model what contradicts itself.
        """
        with building('train_cfg and train_dataloader'):
            loop = super().build_train_loop(loop)
        dataset, model = loop.dataloader.dataset, self.bare_model
        self._run = resume.describe_run(self.cfg, loop, self.world_size, self._tower)
        if isinstance(dataset, InstructDataset):
            check_settings(self.cfg, dataset, model)
            dataset.encoder = SampleEncoder(model)
        return loop

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: Mapping[str, Any] | None = None) -> None:
        """Scales every learning rate by what a step learns, accumulated micro-batches included.

        Args:
            optim_wrapper: built; no scheduler is yet.
            auto_scale_lr: ``enable``, and ``base_batch_size``, for which the rates are written.
        """
        if not (auto_scale_lr or {}).get('enable', False):
            return
        loop: StepLoop = self.train_loop
        base = auto_scale_lr['base_batch_size']
        found = self.world_size * loop.dataloader.batch_size * loop.accumulate
        self.logger.info(
            f'auto_scale_lr: a step learns {found} samples, base_batch_size is {base}; '
            f'learning rates x {found / base:g}.'
        )
        for group in optim_wrapper.optimizer.param_groups:
            group['lr'] *= found / base

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> list[Any]:
        """Builds the schedulers; one that is converted to steps counts optimizer steps."""
        given = [scheduler] if isinstance(scheduler, Mapping) else scheduler
        steps = dict(epoch_length=self.train_loop.steps_per_epoch)  # mmengine: micro-batches
        with building('param_scheduler'):
            return super()._build_param_scheduler([{**s, **steps} for s in given], optim_wrapper)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Builds the optimizer."""
        with building('optim_wrapper'):
            return super().build_optim_wrapper(optim_wrapper)

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """Builds what writes logs and images."""
        with building('visualizer'):
            return super().build_visualizer(visualizer)

    def register_default_hooks(self, hooks: Mapping[str, Any] | None = None) -> None:
        """Registers mmengine's default hooks, with ours for checkpoints and schedulers."""
        ours = dict(
            param_scheduler=dict(type='mmllava.StepSchedulerHook'),
            checkpoint=dict(type='mmllava.SafeCheckpointHook'),
        )
        super().register_default_hooks({**ours, **(hooks or {})})

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Registers a hook; ours in place of mmengine's ``ParamSchedulerHook``."""
        if isinstance(hook, Mapping) and resolve(HOOKS, hook['type']) is ParamSchedulerHook:
            hook = dict(type='mmllava.StepSchedulerHook')
        with building(f'the hook {hook}'):
            super().register_hook(hook, priority)

    def build_val_loop(self, loop: Any) -> Any:
        """Builds the val loop, and checks it; its workers take no random number from training.

        Raises:
            ConfigError, DataError: it would end the run at its first pass.
        """
        with building('the val loop'):
            loop = super().build_val_loop(loop)
        waiting = [getattr(hook, 'score', getattr(hook, 'monitor', None)) for hook in self.hooks]
        waiting += [getattr(s, 'monitor', None) for s in self.param_schedulers or []]
        check_validation(
            loop.dataloader.dataset,
            loop.evaluator.metrics,
            [name for name in waiting if isinstance(name, str)],
            self.bare_model,
        )
        loop.dataloader.generator = torch.Generator()
        return loop

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Writes the folder ``out_dir/filename``; called by the hook in every process.

        Args:
            out_dir: the work folder.
            filename: ``iter_N``, or another name that ends so.
            args, kwargs: mmengine's; ``save_optimizer=False`` and what else it may say
                does not apply, a checkpoint always can be resumed.
        """
        random_states = rng.all_random_states(self.train_loop.held)
        optimizer = fsdp.gather(self.optim_wrapper.state_dict())
        files = fsdp.gather(checkpoint.trained_tensors(self.bare_model))
        if self.rank == 0:
            info = self.message_hub.runtime_info.items()
            state = dict(
                step=checkpoint.step_of(filename),
                seed=self.seed,
                **self._run,
                optimizer=optimizer,
                schedules=[_plain_state(scheduler) for scheduler in self.param_schedulers or []],
                stopping=[
                    dict(wait_count=hook.wait_count, best_score=float(hook.best_score))
                    for hook in self._early_stopping()
                ],
                random=random_states,
                info={k: v for k, v in info if k != 'cfg' and _is_plain(v)},
            )
            folder = Path(out_dir) / filename
            texts = {
                checkpoint.CONFIG_FILE: self._config().pretty_text,
                checkpoint.CARD_FILE: checkpoint.to_json(
                    to_llava_config(self.bare_model, self._aspect())
                ),
            }
            checkpoint.write(folder, self.bare_model, files, state, texts, self._base)
        barrier()

    def _early_stopping(self) -> list[EarlyStoppingHook]:
        return [hook for hook in self.hooks if isinstance(hook, EarlyStoppingHook)]

    def _config(self) -> Config:
        """The run's config without what the command line says anew each time."""
        settings = self.cfg.to_dict()
        return Config({k: v for k, v in settings.items() if k not in _OF_THE_COMMAND})

    def _aspect(self) -> str | None:
        """Returns the aspect of the training pipeline's images; None where nothing says so."""
        steps = getattr(self.train_loop.dataloader.dataset, 'pipeline', None)
        found = [s for s in getattr(steps, 'transforms', []) if isinstance(s, CLIPResize)]
        return found[0].aspect if found else None

    def load_or_resume(self) -> None:
        """Resumes from the latest checkpoint, or from ``load_from``, where ``resume`` is set."""
        if not self._resume:
            used = checkpoint.find_latest(self.work_dir)
            if used is not None:
                raise ConfigError(
                    f'{self.work_dir} holds {used.name} of an earlier run, which this one would '
                    'replace step by step. Add --resume to go on with it, or name another folder '
                    'with --work-dir.'
                )
            if self._load_from is not None:
                raise ConfigError(
                    f'load_from={self._load_from!r} would load weights after the optimizer took '
                    "hold of the model's. Set model.init_cfg=dict(type='Pretrained', "
                    'checkpoint=...), or add --resume to go on with a run.'
                )
            return
        folder = resume.find(self.cfg, self.work_dir)
        if folder is None:
            self.logger.info(f'{self.work_dir} has no checkpoint yet: the run begins.')
        else:
            self.resume(folder)

    def resume(self, filename: str | Path, *args: Any, **kwargs: Any) -> None:
        """Restores weights, optimizer, schedules, random numbers and the step.

        Args:
            filename: an ``iter_N`` folder.
            args, kwargs: mmengine's, which ask for less than all; none is taken.

        Raises:
            CheckpointError: it is not of this run.
        """
        if args or kwargs:
            raise ConfigError('resume restores everything, and takes a checkpoint alone.')
        folder = Path(filename)
        state = checkpoint.read_state(folder)
        resume.check_same(folder, state, dict(self._run, seed=self.seed))
        began, now = (base or {} for base in (checkpoint.read_base(folder), self._base))
        if began.get('fingerprint') != now.get('fingerprint'):
            raise CheckpointError(
                f'{folder} was trained on another base, {began.get("base")}, than this run would '
                f'be, {now.get("base")}. Resume with the base that it began with.'
            )
        checkpoint.read_weights(folder, self.bare_model)
        self.optim_wrapper.load_state_dict(
            fsdp.share_optimizer(state['optimizer'], self.optim_wrapper.optimizer)
        )
        for scheduler, stored in zip(self.param_schedulers or [], state['schedules'], strict=True):
            scheduler.load_state_dict(stored)
        for hook, stored in zip(self._early_stopping(), state.get('stopping', []), strict=False):
            vars(hook).update(stored)
        self.message_hub.update_info_dict(state['info'])
        loop: StepLoop = self.train_loop
        loop.resume_at(state['step'])
        rng.restore_random_state(state['random'][self.rank])
        self.logger.info(f'resumed from {folder}: {state["step"]} of {loop.max_iters} steps done')


def _plain_state(scheduler: Any) -> dict[str, Any]:
    """The state of a scheduler without functions: OneCycleLR's has one, that its config names."""
    return {name: v for name, v in scheduler.state_dict().items() if not callable(v)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return type(value) in _PLAIN  # a NumPy float is a float too, and is refused in a file
