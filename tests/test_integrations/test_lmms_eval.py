"""lmms-eval finds the model, runs a task of its own with it, and gets tools/test.py's answers."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from setuptools.config.pyprojecttoml import read_configuration

from mmllava.errors import ConfigError
from tests.conftest import MODELS, ROOT
from tools import test as tool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec('lmms_eval') is None,
        reason='lmms-eval is not installed: pip install lmms-eval',
    ),
]
QUESTIONS = ['Is there a cat?', 'Is there a dog in the image?', 'Is there a car?']
TOKENS = 8
CONFIG = """
_base_ = ['{root}/demo/llava-random_caption.py']
source = '{models}/llava-v1.5'
model = dict(
    task='vqa', preset='vqa_short', template='vicuna_v1', use_im_start_end=False, mm_proj_depth=2,
    tokenizer=dict(name_or_path=source), lang_encoder=dict(name_or_path=source),
    generation_cfg=dict(max_new_tokens={tokens}))
test_dataloader = dict(batch_size=1, dataset=dict(
    _delete_=True, type='mmpretrain.COCOVQA', data_root='{folder}', data_prefix='val',
    question_file='questions.json',
    pipeline=[
        dict(type='mmllava.LoadImage', on_error='record'),
        dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
        dict(type='mmpretrain.PackInputs', algorithm_keys=['question'],
             meta_keys=['question_id', 'image_id', 'img_path', 'error'])]))
test_evaluator = dict(
    _delete_=True, type='mmpretrain.ReportVQA', file_path='{folder}/submission.json')
"""
TASK = """
include: {pope}
task: pope_local
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  top_p: 1.0
  num_beams: 1
  do_sample: false
"""


def test_lmms_eval_finds_the_model_by_the_entry_point_of_the_project(tmp_path, monkeypatch):
    from lmms_eval.models.registry_v2 import ModelRegistryV2

    folder = tmp_path / 'mmllava_here-0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text('Metadata-Version: 2.1\nName: mmllava-here\nVersion: 0\n')
    project = read_configuration(ROOT / 'pyproject.toml', expand=False)['project']
    target = project['entry-points']['lmms_eval.models']['mmllava']
    (folder / 'entry_points.txt').write_text(f'[lmms_eval.models]\nmmllava = {target}\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = ModelRegistryV2()
    registry.load_entrypoint_manifests()
    found = registry.get_model_class('mmllava')
    assert (found.__name__, found.is_simple) == ('LmmsEvalModel', True)


def make_questions(folder):
    """The same images and questions as VQAv2's files and as POPE's table."""
    import pyarrow
    from pyarrow import parquet

    (folder / 'val').mkdir()
    files = [folder / f'val/x_{k:012}.png' for k in range(len(QUESTIONS))]
    for number, file in enumerate(files):
        shutil.copy(MODELS / f'images/{number}.png', file)
    asked = [dict(question_id=k, image_id=k, question=q) for k, q in enumerate(QUESTIONS)]
    (folder / 'questions.json').write_text(json.dumps(dict(questions=asked)))
    rows = dict(
        question_id=[str(k) for k in range(len(QUESTIONS))],
        question=QUESTIONS,
        answer=['yes', 'no', 'no'],
        image=[dict(bytes=file.read_bytes(), path=file.name) for file in files],
    )
    kinds = {name: dict(dtype='string', _type='Value') for name in rows}
    said = dict(info=dict(features={**kinds, 'image': dict(_type='Image')}))
    table = pyarrow.table(rows).replace_schema_metadata({'huggingface': json.dumps(said)})
    parquet.write_table(table, folder / 'test.parquet')


def test_pope_on_local_data_gives_the_answers_of_tools_test(tmp_path, monkeypatch):
    import lmms_eval
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    from mmllava.integrations.lmms_eval import LmmsEvalModel

    monkeypatch.delenv('LOCAL_RANK', raising=False)  # of tools/test.py in an earlier test
    monkeypatch.setenv('HF_DATASETS_OFFLINE', '1')
    monkeypatch.setenv('HF_DATASETS_CACHE', str(tmp_path / 'cache'))
    make_questions(tmp_path)
    pope = Path(lmms_eval.__file__).parent / 'tasks/pope/pope.yaml'
    task = tmp_path / 'tasks/pope_local.yaml'
    task.parent.mkdir()
    task.write_text(TASK.format(pope=pope, data=tmp_path / 'test.parquet', tokens=TOKENS))
    arguments = f'pretrained={MODELS}/llava-v1.5,tower={MODELS}/clip-tiny'
    model = LmmsEvalModel.create_from_arg_string(arguments, dict(batch_size=2, device='cpu'))
    results = simple_evaluate(
        model=model,
        tasks=['pope_local'],
        task_manager=TaskManager(include_path=str(task.parent), include_defaults=False),
        log_samples=True,
        process_docs_parallel=1,
        bootstrap_iters=0,
    )
    found = {s['doc_id']: s['filtered_resps'][0] for s in results['samples']['pope_local']}
    assert 'pope_accuracy,none' in results['results']['pope_local']

    config, work = tmp_path / 'config.py', tmp_path / 'w'
    config.write_text(CONFIG.format(root=ROOT, models=MODELS, folder=tmp_path, tokens=TOKENS))
    checkpoint = str(MODELS / 'llava-v1.5')
    assert tool.main([str(config), checkpoint, '--work-dir', str(work)]) == 0
    ours = json.loads((work / 'predictions.json').read_text())
    assert [found[k] for k in range(len(QUESTIONS))] == [row['answer'] for row in ours]
    assert len({*found.values()}) > 1


def test_tasks_of_other_kinds_are_refused_by_name():
    from mmllava.integrations.lmms_eval import LmmsEvalModel

    model = LmmsEvalModel.__new__(LmmsEvalModel)
    asked = [SimpleNamespace(task_name='seedbench_ppl')]
    with pytest.raises(ConfigError, match='seedbench_ppl needs log-likelihoods, and mmllava'):
        model.loglikelihood(asked)
    with pytest.raises(ConfigError, match='seedbench_ppl needs several rounds'):
        model.generate_until_multi_round(asked)
