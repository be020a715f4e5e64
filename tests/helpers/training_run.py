"""A small training run: the recorded v1.5 model and the recorded batch."""

import itertools
import json
import sys
from pathlib import Path

import torch
from mmengine.dataset import BaseDataset
from mmengine.structures import BaseDataElement

from mmllava.images.clip import to_square
from mmllava.images.load import load_image
from mmllava.registry import DATASETS
from tests.conftest import MODELS, tiny_config

_NUMBERS = itertools.count()  # two runs of one process and second would share a logger
TRAIN = json.loads((MODELS / 'expected.json').read_text())['train']


@DATASETS.register_module()
class RecordedBatch(BaseDataset):
    """The samples of the recording, in an order and as often as ``order`` says; -1 is the text."""

    def __init__(self, order):
        self.order = list(order)
        super().__init__(lazy_init=True, serialize_data=False)

    def full_init(self):
        self._fully_initialized = True

    def __len__(self):
        return len(self.order)

    def __getitem__(self, index):
        number = self.order[index]
        sample = TRAIN['batch'][number] if number >= 0 else dict(conversations=TRAIN['text_sample'])
        pixels = []
        if 'image' in sample:
            image = to_square(load_image(MODELS / sample['image']), 56, 'pad')
            pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        data_sample = BaseDataElement(conversations=sample['conversations'])
        return dict(inputs=pixels, data_samples=data_sample)


def training_config(work_dir, stage, order=(0, 1, 2, 3), batch_size=4, epochs=6, **changes):
    """A config of a run whose optimizer is the recording's."""
    config = tiny_config('v1.5')
    config.model.init_cfg = dict(type='Pretrained', checkpoint=str(MODELS / 'llava-v1.5'))
    config.merge_from_dict(
        dict(
            default_scope='mmllava',
            work_dir=str(work_dir),
            experiment_name=f'tiny-{next(_NUMBERS)}',
            custom_imports=dict(imports=['tests.helpers.training_run']),
            stage=stage,
            train_dataloader=dict(
                batch_size=batch_size,
                num_workers=0,
                collate_fn=dict(type='mmllava.keep_lists'),
                dataset=dict(type='mmllava.RecordedBatch', order=list(order)),
                sampler=dict(type='DefaultSampler', shuffle=False),
            ),
            train_cfg=dict(type='mmllava.StepLoop', max_epochs=epochs),
            optim_wrapper=dict(
                type='OptimWrapper',
                constructor='mmllava.PartwiseOptimConstructor',
                optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.0),
            ),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='mmllava.SafeCheckpointHook'),
            ),
            custom_hooks=[dict(type='mmllava.SpeedHook')],
            log_processor=dict(by_epoch=False, window_size=1, num_digits=6),
            env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)),
            randomness=dict(seed=0),
        )
    )
    config.pop('test_dataloader')
    config.merge_from_dict(changes)
    return config


def write_config(config, folder):
    """The config as a file, for tools/train.py."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / 'config.py'
    config.dump(file)
    return file


def train(config, folder, *args):
    """Runs tools/train.py in this process; gives its exit status."""
    config = config.copy()
    config.experiment_name = f'tiny-{next(_NUMBERS)}'
    sys.path.insert(0, str(Path(__file__).parents[2] / 'tools'))
    try:
        import train as tool
    finally:
        sys.path.pop(0)
    return tool.main([str(write_config(config, folder)), *args])


def log_of(work_dir):
    """The lines of a work folder's runs, step -> what was logged last of it."""
    steps = {}
    for file in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            values = json.loads(line)
            if 'loss' in values:  # else it is the val loop's
                steps[values['step']] = values
    return steps


def losses(work_dir):
    """The losses of a run, in the order of its steps."""
    return [values['loss'] for _, values in sorted(log_of(work_dir).items())]
