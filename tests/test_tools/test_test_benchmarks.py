"""tools/test.py over every benchmark, end to end, on small files in the real formats."""

import json
from pathlib import Path

import pytest

from mmllava.benchmarks.registry import BENCHMARKS
from tests.conftest import MODELS, ROOT
from tools import test as tool
from tools.dev import make_benchmark_samples as benchmark_samples

CONFIGS = sorted((ROOT / 'configs/benchmarks').glob('*.py'))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('samples')
    assert benchmark_samples.main([str(folder)]) == 0
    return folder


def run(config, made, work, capsys):
    text = config.read_text()
    root = text.split("data_root='data")[1].split("'")[0].strip('/')
    done = tool.main(
        [
            *(str(config), str(MODELS / 'llava-v1.5'), '--tower', str(MODELS / 'clip-tiny')),
            *('--work-dir', str(work), '--cfg-options', 'test_dataloader.num_workers=0'),
            f'test_dataloader.dataset.data_root={made / root}',
            'model.generation_cfg.max_new_tokens=4',
        ]
    )
    said = capsys.readouterr()
    assert done == 0, said.err
    return json.loads(said.out.splitlines()[-1])


def test_every_set_has_a_config():
    named = {c.read_text().split("benchmark='")[1].split("'")[0] for c in CONFIGS}
    assert named == set(BENCHMARKS)


@pytest.mark.slow
@pytest.mark.parametrize('config', CONFIGS, ids=lambda c: c.stem)
def test_a_benchmark_runs_end_to_end(config, made, tmp_path, capsys):
    scores = run(config, made, tmp_path / 'w', capsys)
    assert all(isinstance(value, float) for value in scores.values())
    assert 'failed' not in scores
    answers = json.loads((tmp_path / 'w/predictions.json').read_text())
    assert answers
    benchmark = config.read_text().split("benchmark='")[1].split("'")[0]
    log = ''.join(f.read_text() for f in (tmp_path / 'w').glob('*/*.log'))
    sent = [line.split('submission: ')[1] for line in log.splitlines() if 'submission: ' in line]
    assert bool(sent) == bool(BENCHMARKS[benchmark].submit)
    assert all(Path(file).stat().st_size > 2 for file in sent)
    assert scores or sent
    if benchmark == 'llava_bench':
        rows = map(json.loads, Path(sent[0]).read_text().splitlines())
        assert {row['model_id'] for row in rows} == {'llava-v1.5'}  # the checkpoint's folder


@pytest.mark.slow
def test_v0_is_asked_for_its_answer_after_its_reasoning(made, tmp_path, capsys):
    import mmllava
    from mmllava.integrations.batched import BatchedModel, Request
    from mmllava.prompts.render import render

    work, folder = tmp_path / 'w', MODELS / 'llava-v1.5'
    options = [
        *(f'test_dataloader.dataset.data_root={made}/scienceqa', 'test_dataloader.num_workers=0'),
        *('test_dataloader.dataset.preset=llava-v0', 'model.template=llava_v0'),
        'model.generation_cfg.max_new_tokens=4',
    ]
    args = [str(ROOT / 'configs/benchmarks/scienceqa.py'), str(folder)]
    args += ['--tower', str(MODELS / 'clip-tiny'), '--work-dir', str(work)]
    assert tool.main([*args, '--cfg-options', *options]) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in (work / 'samples.jsonl').read_text().splitlines()]
    assert len(rows) == 5 and not any('begun' in row for row in rows)
    model = mmllava.load(folder, 'chat', MODELS / 'clip-tiny', template='llava_v0', device='cpu')
    for row in rows:
        pictures = [row['img_path']] if 'img_path' in row else []
        model.prompt_builder.prompt_tmpl = None
        prompt = ''.join(
            part.text
            for part in render(
                model.prompt_builder.template,
                model.prompt_builder.ask(row['question'], len(pictures)),
            )
        )
        assert prompt.endswith('###Assistant:')

        def ask(text, count, pictures=pictures):
            model.prompt_builder.prompt_tmpl = text
            settings = dict(do_sample=False, max_new_tokens=count)
            return BatchedModel(model)([Request('?', pictures, settings)])[0]

        first = ask(prompt, 4)
        second = ask(f'{prompt}{first} ###\nANSWER:', 64)
        assert row['pred_answer'] == f'{first}\n The answer is {second}'
