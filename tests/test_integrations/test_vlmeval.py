"""VLMEvalKit's threads ask at once and are answered together, each its own."""

import importlib.util
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest

from mmllava.errors import PromptError
from mmllava.integrations.batched import BatchedModel, Request
from tests.conftest import MODELS
from tools.dev import make_benchmark_samples as benchmark_samples

SETTINGS = dict(do_sample=False, max_new_tokens=5)


@pytest.fixture(scope='module')
def module():
    """The adapter; where VLMEvalKit is not installed, on a base class with its rules."""
    missing = importlib.util.find_spec('vlmeval') is None
    if missing:
        base = ModuleType('vlmeval.vlm.base')

        class BaseModel:
            def generate(self, message, dataset=None):
                return self.generate_inner(message, dataset)

        base.BaseModel = BaseModel
        parents = {name: ModuleType(name) for name in ('vlmeval', 'vlmeval.vlm')}
        sys.modules.update({**parents, base.__name__: base})
    from mmllava.integrations import vlmeval

    yield vlmeval
    if missing:
        for name in ('vlmeval', 'vlmeval.vlm', 'vlmeval.vlm.base', 'mmllava.integrations.vlmeval'):
            sys.modules.pop(name, None)


@pytest.fixture(scope='module')
def model(module):
    return module.VLMEvalModel(
        str(MODELS / 'llava-v1.5'),
        tower=str(MODELS / 'clip-tiny'),
        device='cpu',
        batch_size=3,
        generation=dict(max_new_tokens=5),
    )


def message(number, text):
    image = dict(type='image', value=str(MODELS / f'images/{number}.png'))
    return [image, dict(type='text', value=text)]


QUESTIONS = ['Is it?', 'What is on the blanket?', 'Why?', 'Who is this?']


def test_threads_are_answered_together_and_each_gets_its_own(model, monkeypatch):
    alone = [
        BatchedModel(model.batched.model)(
            [Request(q, [str(MODELS / f'images/{k}.png')], SETTINGS)]
        )[0]
        for k, q in enumerate(QUESTIONS)
    ]
    sizes = []
    ask = BatchedModel._ask
    monkeypatch.setattr(
        BatchedModel,
        '_ask',
        lambda self, r, batch: (sizes.append(len(batch)), ask(self, r, batch))[1],
    )
    with ThreadPoolExecutor(4) as pool:
        messages = [message(k, q) for k, q in enumerate(QUESTIONS)]
        assert list(pool.map(model.generate, messages)) == alone
    assert max(sizes) > 1 and sum(sizes) == len(QUESTIONS)


def test_an_error_reaches_the_thread_that_asked_and_no_other(model):
    bad = [dict(type='text', value='<image> <image>'), *message(0, 'Why?')]
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(model.generate, m) for m in (bad, message(1, 'Who?')))
        with pytest.raises(PromptError, match='3 <image> tags but 1 images'):
            first.result()
        assert second.result()
    with pytest.raises(PromptError, match='a message holds video, expected text and images'):
        model.generate_inner([dict(type='video', value='x.mp4')])


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec('vlmeval') is None,
    reason='VLMEvalKit is not installed: pip install ms-vlmeval',
)
def test_a_local_table_goes_through_vlmevalkits_own_run(model, tmp_path, monkeypatch):
    monkeypatch.setenv('LMUData', str(tmp_path))
    monkeypatch.setenv('PRED_FORMAT', 'tsv')
    from vlmeval.dataset.image_mcq import CustomMCQDataset
    from vlmeval.inference import infer_data_job
    from vlmeval.smp import load

    assert benchmark_samples.main([str(tmp_path / 'samples')]) == 0
    shutil.copy(tmp_path / 'samples/mmbench/mmbench_dev_20230712.tsv', tmp_path / 'local.tsv')
    dataset = CustomMCQDataset(dataset='local')
    asked = [dataset.build_prompt(dataset.data.iloc[k]) for k in range(len(dataset.data))]
    alone = [model.generate(message) for message in asked]
    sizes = []
    ask = BatchedModel._ask
    monkeypatch.setattr(
        BatchedModel,
        '_ask',
        lambda self, r, batch: (sizes.append(len(batch)), ask(self, r, batch))[1],
    )
    work = tmp_path / 'work'
    work.mkdir()
    infer_data_job(model, str(work), 'mmllava', dataset, api_nproc=4)
    (file,) = work.glob('mmllava_local*')
    found = load(str(file))
    assert list(found['prediction']) == alone
    assert len({*alone}) > 1
    assert sum(sizes) == len(alone) and max(sizes) > 1
