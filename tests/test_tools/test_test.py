"""tools/test.py, as a user types it: scored, resumed, and never stopped by one image."""

import hashlib
import json
import shutil

import pytest

from tests.test_tools.conftest import COUNT
from tools import test as tool


def run(*args):
    return tool.main([str(a) for a in args])


def scores(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def lines_of(folder):
    files = folder.glob('predictions-*.jsonl')
    return [line for file in files for line in file.read_text().splitlines()]


def test_a_set_is_captioned_and_scored(config, merged, tmp_path, capsys):
    args = ('--out', tmp_path / 'out.json', '--show-dir', tmp_path / 'drawn', '--interval', 2)
    assert run(config, merged, '--work-dir', tmp_path / 'w', *args) == 0
    found = scores(capsys)
    assert set(found) == {'Bleu_1', 'Bleu_2', 'Bleu_3', 'Bleu_4', 'ROUGE_L', 'CIDEr'}
    answers = json.loads((tmp_path / 'w/predictions.json').read_text())
    assert [a['image_id'] for a in answers] == list(range(COUNT))
    assert all(a['caption'] for a in answers)
    out = json.loads((tmp_path / 'out.json').read_text())
    assert [o['pred_caption'] for o in out] == [a['caption'] for a in answers]
    assert sorted(f.name for f in (tmp_path / 'drawn').iterdir()) == [
        '0.png',
        '2.png',
        '4.png',
        '6.png',
    ]


def test_a_second_run_captions_nothing_again_and_gives_the_same_scores(
    config, merged, tmp_path, capsys, monkeypatch
):
    from mmllava.models import Llava

    work = tmp_path / 'w'
    run(config, merged, '--work-dir', work)
    first, predictions = scores(capsys), (work / 'predictions.json').read_bytes()
    (file,) = work.glob('predictions-*.jsonl')
    kept = file.read_bytes().split(b'\n')
    file.write_bytes(b'\n'.join(kept[:3]) + b'\n' + kept[3][:20])  # killed in the fourth line
    asked = []
    predict = Llava.predict
    monkeypatch.setattr(
        Llava, 'predict', lambda self, i, s, **g: asked.extend(s) or predict(self, i, s, **g)
    )
    run(config, merged, '--work-dir', work)
    assert len(asked) == COUNT - 3
    assert scores(capsys) == first
    assert (work / 'predictions.json').read_bytes() == predictions
    assert len(lines_of(work)) == COUNT


def test_a_run_of_another_protocol_is_refused_with_what_differs(config, merged, tmp_path, capsys):
    work = tmp_path / 'w'
    run(config, merged, '--work-dir', work)
    before = {f.name: f.read_bytes() for f in work.glob('*.json*')}
    options = ('model.generation_cfg.max_new_tokens=3', 'model.preset=describe')
    capsys.readouterr()
    assert run(config, merged, '--work-dir', work, '--cfg-options', *options) == 2
    said = capsys.readouterr().err
    assert 'w holds a run of another protocol' in said
    assert 'decoding.max_new_tokens: 24 there, 3 now' in said
    assert "prompt.preset: 'coco_short' there, 'describe' now" in said
    assert 'Give another --work-dir' in said
    assert {f.name: f.read_bytes() for f in work.glob('*.json*')} == before


def test_predictions_of_an_unknown_protocol_are_not_gone_on_with(config, merged, tmp_path, capsys):
    work = tmp_path / 'w'
    run(config, merged, '--work-dir', work)
    (work / 'run.json').unlink()
    assert run(config, merged, '--work-dir', work) == 2
    assert 'without the run.json that describes their protocol' in capsys.readouterr().err


def test_the_score_is_written_with_its_protocol(config, merged, data, tmp_path, capsys):
    work = tmp_path / 'w'
    run(config, merged, '--work-dir', work)
    card = json.loads((work / 'run.json').read_text())
    assert card['scores'] == scores(capsys)
    assert card['counts'] == dict(samples=COUNT, predicted=COUNT, failed=0, missing=0)
    asked = card['protocol']
    assert asked['prompt']['preset'] == 'coco_short'
    assert asked['prompt']['text'].endswith('caption for the provided image. ASSISTANT:')
    assert asked['template']['name'] == 'llava_v1'
    assert (asked['images']['aspect'], asked['images']['size']) == ('square', 56)
    assert asked['decoding'] == dict(do_sample=False, num_beams=1, max_new_tokens=24)
    assert asked['precision'] == dict(dtype='float32', bits=None, autocast=False)
    checksum = hashlib.sha256((data / 'val.json').read_bytes()).hexdigest()
    assert asked['data']['files'] == {'val.json': checksum}
    checksum = hashlib.sha256((data / 'truth.json').read_bytes()).hexdigest()
    assert card['scoring']['files'] == {'truth.json': checksum}
    (environment,) = card['environments']
    assert environment['torch'] and environment['processes'] == 1
    samples = [json.loads(line) for line in (work / 'samples.jsonl').read_text().splitlines()]
    assert [s['id'] for s in samples] == [str(k) for k in range(COUNT)]
    assert all(len(s['reference']) == 3 for s in samples)
    assert all(s['scores'].keys() == card['scores'].keys() for s in samples)
    mean = sum(s['scores']['ROUGE_L'] for s in samples) / COUNT
    assert mean == pytest.approx(card['scores']['ROUGE_L'])


def test_a_bad_picture_is_counted_and_retried_and_the_others_are_scored(
    config, merged, data, tmp_path, capsys
):
    picture = data / 'images/3.png'
    good = picture.read_bytes()
    picture.write_bytes(b'nothing')
    try:
        assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
        said = capsys.readouterr()
        assert json.loads(said.out.splitlines()[-1])['failed_images'] == 1
        assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT - 1
        assert '3.png is not an image that Pillow knows' in said.err + said.out
    finally:
        picture.write_bytes(good)
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert 'failed_images' not in scores(capsys)
    assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT


@pytest.mark.slow
def test_a_nul_in_a_path_costs_one_sample_and_half_a_letter_none(
    config, merged, data, tmp_path, capsys
):
    copied = tmp_path / 'data'
    shutil.copytree(data, copied)
    config.write_text(config.read_text().replace(str(data), str(copied)))
    samples = json.loads((copied / 'val.json').read_text())
    samples[3]['image'] = 'images\0/3.png'
    (copied / 'val.json').write_text(json.dumps(samples))
    truth = json.loads((copied / 'truth.json').read_text())
    truth['annotations'][-1]['caption'] = 'a cat \ud800'
    (copied / 'truth.json').write_text(json.dumps(truth))
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert scores(capsys)['failed_images'] == 1
    rows = [json.loads(line) for line in (tmp_path / 'w/samples.jsonl').read_text().splitlines()]
    assert 'embedded null' in rows[3]['error']
    assert rows[-1]['reference'][-1] == 'a cat \ud800'


def test_a_metric_that_fails_loses_no_prediction(config, merged, tmp_path, capsys):
    (tmp_path / 'short.json').write_text(
        json.dumps(dict(images=[dict(id=0)], annotations=[dict(id=0, image_id=0, caption='a')]))
    )
    option = ('--cfg-options', f'test_evaluator.ann_file={tmp_path}/short.json')
    out = tmp_path / 'out.pkl'
    assert run(config, merged, '--work-dir', tmp_path / 'w', '--out', out, *option) == 2
    assert 'scores' not in json.loads((tmp_path / 'w/run.json').read_text())
    assert 'is not among the 1 images with references' in capsys.readouterr().err
    assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT
    assert out.stat().st_size > 0


def test_a_config_for_mmpretrain_gets_our_metric_by_its_name(config, merged, tmp_path, capsys):
    config.write_text(
        config.read_text()
        + "default_scope = 'mmpretrain'\n"
        + "test_evaluator = dict(_delete_=True, type='COCOCaption', ann_file="
        + config.read_text().split('test_evaluator = dict(ann_file=')[1].strip()[:-1]
        + ')\ntest_cfg = dict(_delete_=True)\n'
    )
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert 'CIDEr' in scores(capsys)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('nowhere.py', 'x'), 'no config file at nowhere.py'),
        (('CONFIG', './gone'), 'gone does not exist'),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'model.type=mmllava.Lava'),
            "unknown model type 'Lava'. Did you mean Llava",
        ),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'test_dataloader.dataset.ann_file=gone.json'),
            'gone.json',
        ),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'test_evaluator.ann_file=gone_too.json'),
            'gone_too.json',
        ),
        (
            ('CONFIG', 'MERGED', '--cfg-options', 'model.template=vicuna'),
            "unknown template 'vicuna'",
        ),
    ],
)
def test_bad_input_exits_with_2_and_says_why(config, merged, tmp_path, args, message, capsys):
    names = dict(CONFIG=config, MERGED=merged)
    args = [names.get(a, a) for a in args]
    assert run(*args, '--work-dir', tmp_path / 'w') == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / 'w').glob('predictions*'))


def test_what_out_holds_needs_a_file(config, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(config, 'x', '--out-item', 'metrics')
    assert exit_.value.code == 2
    assert 'give --out FILE too' in capsys.readouterr().err


@pytest.mark.slow
def test_another_annotation_file_or_precision_is_another_protocol(
    config, merged, data, tmp_path, capsys
):
    work, copied = tmp_path / 'w', tmp_path / 'data'
    shutil.copytree(data, copied)
    config.write_text(config.read_text().replace(str(data), str(copied)))
    run(config, merged, '--work-dir', work)
    assert run(config, merged, '--work-dir', work, '--amp') == 2
    assert 'precision.autocast: False there, True now' in capsys.readouterr().err
    samples = json.loads((copied / 'val.json').read_text())
    (copied / 'val.json').write_text(json.dumps(samples[::-1]))
    assert run(config, merged, '--work-dir', work) == 2
    assert 'data.files.val.json: ' in capsys.readouterr().err


@pytest.mark.slow
def test_a_picture_that_changed_is_predicted_anew(config, merged, data, tmp_path, capsys):
    work, copied = tmp_path / 'w', tmp_path / 'data'
    shutil.copytree(data, copied)
    config.write_text(config.read_text().replace(str(data), str(copied)))
    run(config, merged, '--work-dir', work)
    shutil.copy(copied / 'images/0.png', copied / 'images/5.png')
    run(config, merged, '--work-dir', work)
    last = json.loads((work / 'predictions.json').read_text())
    assert last[0]['caption'] == last[5]['caption']
    assert len(lines_of(work)) == COUNT + 1


def test_a_sample_that_cannot_be_asked_is_counted_and_the_others_are_scored(
    config, merged, tmp_path, capsys, monkeypatch
):
    from mmllava.errors import PromptError
    from mmllava.models.prompt_builder import PromptBuilder

    encode = PromptBuilder.encode_prompt

    def picky(self, sample, num_images=1):
        if sample.get('image_id') == '2':
            raise PromptError('too long')
        return encode(self, sample, num_images)

    monkeypatch.setattr(PromptBuilder, 'encode_prompt', picky)
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert scores(capsys)['failed_images'] == 1
    assert len(json.loads((tmp_path / 'w/predictions.json').read_text())) == COUNT - 1


def test_a_run_in_which_everything_fails_ends_early(config, merged, tmp_path, capsys, monkeypatch):
    from mmllava.errors import PromptError
    from mmllava.evaluation import test_loop
    from mmllava.models.prompt_builder import PromptBuilder

    def refuse(self, sample, num_images=1):
        raise PromptError(f'{sample.get("image_id")} is too long')

    work = tmp_path / 'w'
    monkeypatch.setattr(test_loop, 'MAX_FIRST_FAILURES', 3)
    with monkeypatch.context() as patch:
        patch.setattr(PromptBuilder, 'encode_prompt', refuse)
        assert run(config, merged, '--work-dir', work) == 2
    said = capsys.readouterr().err
    assert 'the first 4 samples all failed, so the rest would too. The last: 3 is too' in said
    assert not (work / 'samples.jsonl').exists()
    assert run(config, merged, '--work-dir', work) == 0  # failed ones are asked again
    assert json.loads((work / 'run.json').read_text())['counts']['predicted'] == COUNT


def test_what_does_not_fit_in_memory_together_is_predicted_alone(
    config, merged, tmp_path, capsys, monkeypatch
):
    import torch

    from mmllava.models import Llava

    predict = Llava.predict

    def small(self, images, samples, **generation):
        if len(samples) > 1 or samples[0].get('image_id') == '2':
            raise torch.OutOfMemoryError('out of memory')
        return predict(self, images, samples, **generation)

    monkeypatch.setattr(Llava, 'predict', small)
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 0
    assert scores(capsys)['failed_images'] == 1
    failed = [json.loads(line) for line in lines_of(tmp_path / 'w') if 'error' in line]
    assert [(f['id'], f['error'], f.get('pred_caption')) for f in failed] == [
        ('2', 'out of memory', None)
    ]


def test_what_is_wrong_for_every_sample_ends_the_run(config, merged, tmp_path, capsys):
    option = ('--cfg-options', f'model.tokenizer.name_or_path={tmp_path}')
    assert run(config, merged, '--work-dir', tmp_path / 'w', *option) == 2
    assert 'no tokenizer.model in' in capsys.readouterr().err
    assert not list((tmp_path / 'w').glob('predictions*'))


def test_ctrl_c_says_how_to_go_on(config, merged, tmp_path, capsys, monkeypatch):
    from mmllava.models import Llava

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Llava, 'predict', stop)
    assert run(config, merged, '--work-dir', tmp_path / 'w') == 130
    assert 'the same command goes on from here' in capsys.readouterr().err
