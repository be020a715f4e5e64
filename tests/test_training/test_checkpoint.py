"""What a checkpoint holds, and that a model can be used from it at once."""

import json
import shutil

import pytest
import torch
from mmengine.structures import BaseDataElement
from safetensors.torch import load_file, save_file

from mmllava import get_model, load
from mmllava.checkpoints import prepare_conversion, write_conversion
from mmllava.errors import CheckpointError
from mmllava.training import checkpoint
from tests.conftest import MODELS, tiny_config
from tests.helpers.training_run import RecordedBatch, losses, train, training_config

STAGES = {
    'projector': dict(train=['projector']),
    'full': dict(train=['projector', 'language']),
    'lora': dict(train=['projector'], lora=dict(r=4, alpha=8)),
}


@pytest.fixture(scope='module', params=STAGES)
def trained(request, tmp_path_factory):
    """Name of the stage, and the last checkpoint of six steps."""
    if request.param == 'lora':
        pytest.importorskip('peft')
    folder = tmp_path_factory.mktemp(request.param)
    assert train(training_config(folder, STAGES[request.param]), folder) == 0
    return request.param, folder / 'iter_6'


def of_checkpoint(folder):
    """The model, its base named."""
    base = dict(pretrained=str(MODELS / 'llava-v1.5'))
    return get_model(tiny_config('v1.5'), pretrained=str(folder), device='cpu', lang_encoder=base)


def loss_of(model):
    """The loss of the recorded batch."""
    data = [RecordedBatch(range(4))[k] for k in range(4)]
    batch = {key: [sample[key] for sample in data] for key in data[0]}
    with torch.no_grad():
        return float(model(**model.data_preprocessor(batch), mode='loss')['loss'])


def test_get_model_runs_what_was_trained(trained, tmp_path):
    stage, checkpoint = trained
    model = of_checkpoint(checkpoint)
    seventh = training_config(tmp_path, STAGES[stage], epochs=7)
    assert train(seventh, tmp_path) == 0
    assert loss_of(model) == pytest.approx(losses(tmp_path)[-1], abs=1e-5)


def test_a_base_on_this_machine_is_read_only_if_the_config_names_it(trained):
    """A checkpoint that somebody sends must not have other files read."""
    stage, checkpoint = trained
    if stage == 'full':
        assert not (checkpoint / 'base.json').exists()
        return
    with pytest.raises(CheckpointError, match='holds changes to .*llava-v1.5, and a path that a'):
        get_model(tiny_config('v1.5'), pretrained=str(checkpoint), device='cpu')
    start = dict(type='Pretrained', checkpoint=str(MODELS / 'llava-v1.5'))
    trained_with = tiny_config('v1.5', init_cfg=start)
    assert loss_of(get_model(trained_with, pretrained=str(checkpoint), device='cpu')) > 0


def test_it_holds_what_was_trained_and_not_the_base(trained):
    stage, checkpoint = trained
    names = set(load_file(checkpoint / 'model.safetensors'))
    projector = {f'model.mm_projector.{k}.{kind}' for k in (0, 2) for kind in ('weight', 'bias')}
    assert projector <= names
    assert (names == projector) == (stage != 'full')
    assert (checkpoint / 'base.json').is_file() == (stage != 'full')
    assert (checkpoint / 'tokenizer.model').is_file()
    if stage == 'full':
        assert any('embed_tokens' in name for name in names)
        assert any('vision_tower' in name for name in names)


def test_adapters_are_files_that_peft_reads(trained):
    stage, checkpoint = trained
    if stage != 'lora':
        assert not (checkpoint / 'adapter_model.safetensors').exists()
        return
    peft = pytest.importorskip('peft')
    plain = get_model(tiny_config('v1.5'), pretrained=str(MODELS / 'llava-v1.5'), device='cpu')
    theirs = peft.PeftModel.from_pretrained(plain.language.lm, checkpoint).merge_and_unload()
    ours = of_checkpoint(checkpoint).language.lm
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


def test_another_base_is_refused(trained, tmp_path):
    stage, checkpoint = trained
    if stage == 'full':
        return
    other = tmp_path / 'base'
    shutil.copytree(MODELS / 'llava-v1.5', other)
    shard = sorted(other.glob('*.safetensors'))[0]
    tensors = load_file(shard)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, shard)
    config = tiny_config('v1.5')
    config.model.lang_encoder.pretrained = str(other)
    with pytest.raises(CheckpointError, match='is not the base .* fingerprint .* expected'):
        get_model(config, pretrained=str(checkpoint), device='cpu')


def test_a_base_that_does_not_say_what_it_is_is_refused(trained, tmp_path):
    stage, checkpoint = trained
    if stage == 'full':
        return
    copy = tmp_path / 'copy'
    shutil.copytree(checkpoint, copy)
    (copy / 'base.json').write_text(json.dumps(dict(base='somewhere')))
    with pytest.raises(CheckpointError, match='lacks base or fingerprint'):
        of_checkpoint(copy)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    config = training_config(tmp_path, STAGES['projector'])
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    assert train(config, tmp_path) == 0
    assert sorted(p.name for p in tmp_path.glob('iter_*')) == ['iter_5', 'iter_6']
    assert checkpoint.find_latest(tmp_path).name == 'iter_6'


def test_the_old_checkpoint_stays_until_the_new_one_is_there(tmp_path, monkeypatch):
    config = training_config(tmp_path, STAGES['projector'])
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    write = checkpoint.write

    def fail_at_three(folder, *args):
        if folder.name == 'iter_3':
            raise KeyboardInterrupt
        write(folder, *args)

    monkeypatch.setattr(checkpoint, 'write', fail_at_three)
    assert train(config, tmp_path) == 130
    assert [p.name for p in tmp_path.glob('iter_*')] == ['iter_2']


def test_what_a_kill_kept_from_being_deleted_is_deleted_as_the_run_goes_on(tmp_path, monkeypatch):
    config = training_config(tmp_path, STAGES['projector'], epochs=3)
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    remove = checkpoint.remove

    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, 'remove', stop)
    assert train(config, tmp_path) == 130
    assert sorted(p.name for p in tmp_path.glob('iter_*')) == ['iter_1', 'iter_2']
    monkeypatch.setattr(checkpoint, 'remove', remove)
    assert train(config, tmp_path, '--resume') == 0
    assert [p.name for p in tmp_path.glob('iter_*')] == ['iter_3']


def test_a_resumed_run_with_other_batches_is_refused(tmp_path, capsys):
    config = training_config(tmp_path, STAGES['projector'], epochs=2)
    assert train(config, tmp_path) == 0
    config = training_config(tmp_path, STAGES['projector'], order=[0, 1, 2, 3] * 2, epochs=2)
    assert train(config, tmp_path, '--resume') == 2
    assert 'its batches would be others. Resume with the same config' in capsys.readouterr().err


def test_a_folder_that_is_no_checkpoint_of_a_run_is_refused(tmp_path, capsys):
    config = training_config(tmp_path, STAGES['projector'])
    assert train(config, tmp_path, '--resume', str(MODELS / 'llava-v1.5')) == 2
    assert 'has no resume.pth' in capsys.readouterr().err


def test_load_from_is_refused_since_the_optimizer_would_miss_it(tmp_path, capsys):
    config = training_config(tmp_path, STAGES['projector'], load_from=str(MODELS / 'llava-v1.5'))
    assert train(config, tmp_path) == 2
    assert 'Set model.init_cfg' in capsys.readouterr().err
    assert train(config, tmp_path, '--resume') == 2
    assert 'Leave load_from out, or name it: --resume' in capsys.readouterr().err


def test_the_next_stage_begins_with_the_projector_of_the_last(tmp_path):
    first = training_config(tmp_path / '1', STAGES['projector'])
    assert train(first, tmp_path / '1') == 0
    second = training_config(tmp_path / '2', STAGES['full'], epochs=1)
    second.model.init_cfg.checkpoint = str(tmp_path / '1/iter_6')
    second.model.lang_encoder.pretrained = str(MODELS / 'llava-v1.5')
    assert train(second, tmp_path / '2') == 0
    model = of_checkpoint(tmp_path / '1/iter_6')
    assert losses(tmp_path / '2')[0] == pytest.approx(loss_of(model), abs=1e-6)


def test_the_image_words_of_a_first_stage_are_in_its_checkpoint(tmp_path, checkpoints):
    config = training_config(tmp_path, dict(train=['projector', 'image_tokens']), epochs=2)
    config.model = tiny_config('v1').model
    config.model.init_cfg = dict(type='Pretrained', checkpoint=str(checkpoints['v1']))
    assert train(config, tmp_path) == 0
    before = get_model(tiny_config('v1'), pretrained=str(checkpoints['v1']), device='cpu')
    base = dict(pretrained=str(checkpoints['v1']))
    after = get_model(
        tiny_config('v1'), pretrained=str(tmp_path / 'iter_2'), device='cpu', lang_encoder=base
    )
    rows = [m.language.lm.model.embed_tokens.weight for m in (before, after)]
    moved = (rows[0] != rows[1]).any(1).nonzero().flatten().tolist()
    assert moved == sorted(after.tokenizer.token_id(w) for w in ('<im_start>', '<im_end>'))


def test_adapters_on_top_of_a_checkpoint_of_adapters_are_refused(tmp_path, capsys):
    pytest.importorskip('peft')
    first = training_config(tmp_path / '1', STAGES['lora'], epochs=1)
    assert train(first, tmp_path / '1') == 0
    second = training_config(tmp_path / '2', STAGES['lora'])
    second.model.init_cfg.checkpoint = str(tmp_path / '1/iter_1')
    second.model.lang_encoder.pretrained = str(MODELS / 'llava-v1.5')
    assert train(second, tmp_path / '2') == 2
    assert 'Train the whole language model, or merge the checkpoint' in capsys.readouterr().err


def test_a_work_folder_of_an_earlier_run_is_not_written_over(tmp_path, capsys):
    config = training_config(tmp_path, STAGES['projector'], epochs=2)
    assert train(config, tmp_path) == 0
    before = (tmp_path / 'iter_2/model.safetensors').read_bytes()
    again = training_config(tmp_path, STAGES['projector'], epochs=4)
    assert train(again, tmp_path) == 2
    assert 'holds iter_2 of an earlier run' in capsys.readouterr().err
    assert (tmp_path / 'iter_2/model.safetensors').read_bytes() == before


def test_a_run_is_not_resumed_on_another_base(tmp_path, capsys):
    config = training_config(tmp_path, STAGES['projector'], epochs=2)
    assert train(config, tmp_path) == 0
    other = tmp_path / 'other'
    shutil.copytree(MODELS / 'llava-v1.5', other)
    for file in other.glob('*.safetensors'):
        save_file({k: 1.5 * v for k, v in load_file(file).items()}, file)
    config = training_config(tmp_path, STAGES['projector'], epochs=2)
    config.model.init_cfg.checkpoint = str(other)
    assert train(config, tmp_path, '--resume') == 2
    assert 'was trained on another base' in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_run_and_saves_nothing(tmp_path, capsys):
    config = training_config(tmp_path, STAGES['projector'])
    config.optim_wrapper.optimizer.lr = 1e30
    config.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    assert train(config, tmp_path) == 2
    said = capsys.readouterr().err
    assert 'is nan, and what was learned from it is lost' in said
    (left,) = tmp_path.glob('iter_*')
    assert left.name == 'iter_1'
    assert f"begin with model.init_cfg=dict(type='Pretrained', checkpoint='{left}')" in said


@pytest.mark.parametrize('stage', STAGES)
def test_a_model_in_training_is_asked_too_its_tower_in_half_precision(stage, checkpoints):
    """The val loop has no autocast: what learns is float32, the rest bfloat16."""
    if stage == 'lora':
        pytest.importorskip('peft')
    from mmllava.training import stages

    model = get_model(
        tiny_config('v1.5', dtype='bfloat16'), pretrained=str(checkpoints['v1.5']), device='cpu'
    )
    stages.apply(model, stages.read_stage(STAGES[stage]), 'cpu')
    sample = BaseDataElement(question='What is it?')
    assert model(torch.zeros(1, 3, 56, 56), [sample])[0].pred_answer is not None


def test_convert_merges_what_was_trained_onto_its_base(trained, tmp_path):
    """The folder that comes out needs no config of ours, and computes the same."""
    stage, checkpoint = trained
    base = None if stage == 'full' else MODELS / 'llava-v1.5'
    conversion = prepare_conversion(checkpoint, 'mmllava', base)
    assert conversion.described['source'].startswith('original' if stage == 'full' else 'partial')
    write_conversion(conversion, tmp_path / 'merged')
    tower = None if stage == 'full' else MODELS / 'clip-tiny'
    merged = load(tmp_path / 'merged', tower=tower, device='cpu').state_dict()
    for name, tensor in of_checkpoint(checkpoint).state_dict().items():
        assert torch.equal(merged[name], tensor), name  # one merge, loading and converting


def test_convert_follows_no_path_of_a_checkpoint_and_takes_no_other_base(trained):
    stage, checkpoint = trained
    if stage == 'full':
        return
    with pytest.raises(CheckpointError, match=r'a path that a file names is not followed.*--base'):
        prepare_conversion(checkpoint, 'mmllava')
    with pytest.raises(CheckpointError, match=r'llama-base is not the base that .*--base'):
        prepare_conversion(checkpoint, 'mmllava', MODELS / 'llama-base')
