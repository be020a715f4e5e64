"""A small set of ScienceQA's format: converted, trained on for 12 passes, asked, scored."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import MODELS, ROOT

SUBJECTS = ('natural science', 'social science', 'language science')
CONFIG = """
_base_ = ['{root}/configs/train/llava-7b-v1.5_scienceqa.py']
folder = '{models}'
model = dict(
    dtype='float32',
    init_cfg=dict(checkpoint=f'{{folder}}/llava-v1.5'),
    tokenizer=dict(name_or_path=f'{{folder}}/llava-v1.5'),
    vision_encoder=dict(
        _delete_=True, type='mmllava.CLIPVisionTower', name_or_path=f'{{folder}}/clip-tiny'
    ),
    lang_encoder=dict(
        _delete_=True, type='mmllava.LanguageModel', name_or_path=f'{{folder}}/llava-v1.5'
    ),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='{data}/llava_train_QCM-LEA.json',
        img_root='{data}/images/train',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
            dict(
                type='mmpretrain.PackInputs',
                algorithm_keys=['conversations'],
                meta_keys=['img_path', 'ori_shape', 'sample_idx'],
            ),
        ],
    ),
)
stage = dict(gradient_checkpointing=False)
train_cfg = dict(global_batch=4)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=3e-3))
"""


def problem(number):
    """One of 8 questions, every second with an image; which answer is right, there is no rule."""
    return dict(
        question=f'Which one is {number}?',
        choices=['this', 'that', 'none'][: 2 + number % 2],
        answer=(0, 1, 1, 0, 1, 2, 0, 1)[number],
        hint='Look.' if number % 4 == 1 else '',
        image='image.png' if number % 2 == 0 else None,
        subject=SUBJECTS[number % 3],
        grade=f'grade{2 + number}',
        lecture='',
        solution='So it is.',
    )


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Each question four times in the training split, once in the test split."""
    folder = tmp_path_factory.mktemp('sqa')
    problems = {str(100 * copy + k): problem(k) for copy in range(4) for k in range(8)}
    splits = dict(train=list(problems), test=[str(k) for k in range(8)])
    (folder / 'problems.json').write_text(json.dumps(problems))
    (folder / 'pid_splits.json').write_text(json.dumps(splits))
    for split, ids in splits.items():
        for id_ in ids:
            if problems[id_]['image']:
                (folder / 'images' / split / id_).mkdir(parents=True)
                source = MODELS / f'images/{int(id_) % 100 % 6}.png'
                shutil.copy(source, folder / 'images' / split / id_ / 'image.png')
    return folder


def tool(*arguments):
    """A tool's last line."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_it_is_converted_trained_on_asked_and_scored(data, tmp_path):
    converted = tool('tools/dataset_converters/scienceqa.py', data, '--split', 'train')
    assert (converted['records'], converted['images']) == (32, 16)
    (tmp_path / 'sqa.py').write_text(CONFIG.format(root=ROOT, models=MODELS, data=data))
    trained = tool('tools/train.py', tmp_path / 'sqa.py', '--work-dir', tmp_path / 'run')
    assert trained['steps'] == 12 * 32 / 4
    scores = tool(
        *('tools/test.py', 'configs/benchmarks/scienceqa.py', trained['checkpoint']),
        *('--work-dir', tmp_path / 'test', '--cfg-options'),
        f'test_dataloader.dataset.data_root={data}',
        'test_dataloader.dataset.preset=llava-v1',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    )
    assert scores['accuracy'] >= 75  # chance is below 50, and what names no letter is wrong
    assert scores['unread'] == 0
    (file,) = (tmp_path / 'test').rglob('scienceqa_result.json')
    outputs = json.loads(file.read_text())['outputs']
    right = {
        k: re.search(r'The answer is ([A-Z])\.', outputs[str(k)])[1] == 'ABC'[problem(k)['answer']]
        for k in range(8)
    }
    groups = dict(
        NAT=[0, 3, 6], SOC=[1, 4, 7], LAN=[2, 5], TXT=[1, 5], IMG=[0, 2, 4, 6], NO=[3, 7]
    ) | {'G1-6': range(5), 'G7-12': range(5, 8)}
    for name, members in groups.items():
        assert scores[name] == pytest.approx(100 * sum(right[k] for k in members) / len(members))
    assert scores['accuracy'] == pytest.approx(100 * sum(right.values()) / 8)
