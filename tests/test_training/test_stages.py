"""What a stage freezes, and what a wrong one is told."""

import pytest
import torch

from mmllava.errors import ConfigError
from mmllava.registry import MODELS as BUILD
from mmllava.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmllava.training import stages
from tests.conftest import MODELS, tiny_config
from tests.helpers.training_run import RecordedBatch


def model_of(version='v1.5', checkpoint=MODELS / 'llava-v1.5', **settings):
    config = tiny_config(version, **settings)
    model = BUILD.build(config.model)
    model.load_weights(checkpoint)
    return model


def step(model, numbers=range(4)):
    """One forward and backward pass; gives the loss."""
    data = [RecordedBatch(numbers)[k] for k in range(len(list(numbers)))]
    batch = {key: [sample[key] for sample in data] for key in data[0]}
    model.train()
    loss = model(**model.data_preprocessor(batch), mode='loss')['loss']
    loss.backward()
    return loss


@pytest.mark.parametrize(
    'train', [['projector'], ['projector', 'language'], ['projector', 'tower'], ['language']]
)
@pytest.mark.parametrize('numbers', [[0, 1], [0, -1], [-1, -1]], ids=['images', 'mixed', 'text'])
def test_every_trained_weight_gets_a_gradient_and_no_other(train, numbers):
    model = model_of()
    stages.apply(model, stages.read_stage(dict(train=train)), 'cpu')
    step(model, numbers)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert any(p.requires_grad for p in model.parameters())


def test_a_batch_of_text_has_the_loss_that_it_has_without_a_picture_run_along():
    model = model_of()
    stages.apply(model, stages.read_stage(dict(train=['projector'])), 'cpu')
    assert step(model, [-1, -1]).item() == pytest.approx(step(model.eval(), [-1]).item(), abs=1e-6)
    assert all(p.grad.abs().max() == 0 for p in model.projector.parameters())


def test_recomputing_activations_changes_no_gradient():
    gradients = []
    for gradient_checkpointing in (False, True):
        model = model_of()
        settings = dict(
            train=['projector', 'language'], gradient_checkpointing=gradient_checkpointing
        )
        stages.apply(model, stages.read_stage(settings), 'cpu')
        step(model)
        assert model.language.lm.is_gradient_checkpointing == gradient_checkpointing
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_of_the_image_words_only_their_rows_move(checkpoints):
    model = model_of('v1', checkpoints['v1'])
    stages.apply(model, stages.read_stage(dict(train=['projector', 'image_tokens'])), 'cpu')
    step(model)
    gradient = model.language.lm.model.embed_tokens.weight.grad
    moved = gradient.abs().sum(1).nonzero().flatten().tolist()
    words = [model.tokenizer.token_id(w) for w in ('<im_start>', '<im_end>')]
    assert moved == sorted(words)
    build = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='mmllava.PartwiseOptimConstructor',
            optim_wrapper_cfg=dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1)),
        )
    )
    before = model.language.lm.model.embed_tokens.weight.detach().clone()
    build(model).step()
    after = model.language.lm.model.embed_tokens.weight
    assert (before != after).any(1).nonzero().flatten().tolist() == sorted(words)


def test_trained_weights_are_float32_and_the_frozen_ones_stay_half():
    model = model_of(dtype='bfloat16')
    stages.apply(model, stages.read_stage(dict(train=['projector'])), 'cpu')
    model.to('cpu')
    model.check_weights()
    assert {p.dtype for p in model.projector.parameters()} == {torch.float32}
    assert {p.dtype for p in model.language.parameters()} == {torch.bfloat16}


def test_lora_begins_where_the_model_is_and_trains_adapters_and_projector_alone():
    pytest.importorskip('peft')
    model = model_of()
    before = step(model).item()
    model.zero_grad()
    settings = dict(train=['projector'], lora=dict(r=4, alpha=8, dropout=0.0))
    stages.apply(model, stages.read_stage(settings), 'cpu')
    assert step(model).item() == pytest.approx(before, abs=1e-6)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert all('lora_' in n or n.startswith('projector.') for n in trained)
    assert sum('lora_A' in n for n in trained) == 7 * model.language.config.num_hidden_layers


def test_a_language_model_alone_begins_with_a_new_projector_and_grown_words():
    config = tiny_config('v1')
    config.model.lang_encoder.pretrained = str(MODELS / 'llama-base')
    torch.manual_seed(0)
    model = BUILD.build(config.model)
    stages.load_weights(model)
    rows = model.language.lm.model.embed_tokens.weight.float()
    assert len(rows) == 1003
    assert torch.allclose(rows[1000:], rows[:1000].mean(0).expand(3, -1), atol=1e-3)
    bound = model.vision_tower.hidden_size**-0.5
    assert 0.5 * bound < model.projector.layers[0].weight.abs().max() <= bound


def test_rates_and_decay_of_each_part():
    model = model_of()
    stages.apply(model, stages.read_stage(dict(train=['projector', 'tower', 'language'])), 'cpu')
    build = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='mmllava.PartwiseOptimConstructor',
            optim_wrapper_cfg=dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.1)),
            paramwise_cfg=dict(projector_lr=1e-4, tower_lr=1e-5),
        )
    )
    groups = build(model).optimizer.param_groups
    found = {id(p): (g['lr'], g['weight_decay']) for g in groups for p in g['params']}
    rates = dict(projector=1e-4, vision_tower=1e-5, language=1e-3)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = 'norm' in name or name.endswith('bias')
            assert found[id(parameter)] == (rates[name.split('.')[0]], 0.0 if plain else 0.1), name
    assert len(found) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ('stage', 'message'),
    [
        (None, 'the config has no stage. Say what is trained'),
        (dict(train=['projektor']), "unknown part of stage.train 'projektor'. Did you mean proj"),
        (dict(train=[]), 'stage trains nothing. Name some of'),
        (dict(freeze=['tower']), "unknown setting of stage 'freeze'"),
        (dict(train=['language'], lora=dict(r=4, alpha=8)), 'LoRA keeps the language model as'),
    ],
)
def test_a_wrong_stage_is_told_what_to_do(stage, message):
    with pytest.raises(ConfigError, match=message):
        stages.read_stage(stage)


def test_image_words_of_a_model_without_them_are_refused():
    with pytest.raises(ConfigError, match='image_tokens, and the model has none'):
        stages.apply(model_of(), stages.read_stage(dict(train=['image_tokens'])), 'cpu')


def test_what_is_trained_is_told_in_numbers():
    model = model_of()
    stages.apply(model, stages.read_stage(dict(train=['projector'])), 'cpu')
    count = sum(p.numel() for p in model.projector.parameters())
    line = next(x for x in stages.describe(model).splitlines() if x.startswith('projector'))
    assert line.split() == ['projector', f'{count:,}', f'{count:,}', 'float32']


@pytest.mark.parametrize(
    ('bits', 'train'), [(4, ['projector', 'language']), (8, ['projector'])], ids=['whole', '8 bits']
)
def test_packed_weights_that_cannot_learn_are_refused(bits, train):
    model = model_of()
    model.bits = bits
    with pytest.raises(ConfigError, match=f'model.bits={bits} with stage.train=.*Set bits=4'):
        stages.apply(model, stages.read_stage(dict(train=train)), 'cpu')
