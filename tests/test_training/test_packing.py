"""Samples in one row learn what they learn side by side."""

import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import BaseDataElement

from mmllava import get_model, inference_model
from mmllava.images.anyres import tiles
from mmllava.images.clip import to_square
from mmllava.images.load import load_image
from mmllava.models import packed_attention
from mmllava.models.packed_attention import flash_varlen
from mmllava.registry import MODELS as BUILD
from tests.conftest import MODELS, VERSIONS, tiny_config
from tests.helpers.training_run import TRAIN


def batch_of(model, version):
    """The recorded batch, with the text-only sample in its midst, as this version sees it."""
    samples = [*TRAIN['batch'][:2], dict(conversations=TRAIN['text_sample']), *TRAIN['batch'][2:]]
    inputs, data_samples = [], []
    for sample in samples:
        data = BaseDataElement(conversations=sample['conversations'])
        pictures = []
        if 'image' in sample:
            image = load_image(MODELS / sample['image'])
            if version == 'v1.6':
                views = tiles(image, 56, model.image_grid_pinpoints).transpose(0, 3, 1, 2)
            else:
                views = to_square(image, 56, VERSIONS[version][1]).transpose(2, 0, 1)
            pictures = torch.from_numpy(views.copy())
            data.set_field([image.size[::-1]], 'ori_shape')
        inputs.append(pictures if isinstance(pictures, list) else [pictures])
        data_samples.append(data)
    return dict(inputs=inputs, data_samples=data_samples)


def learn(model, batch, pack):
    """Loss, positions that ran, and gradients."""
    model.pack = pack
    model.zero_grad()
    losses = model(**model.data_preprocessor(batch), mode='loss')
    losses['loss'].backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return losses, gradients


def test_a_packed_batch_has_the_loss_and_gradients_of_a_padded_one(version, checkpoints):
    model = BUILD.build(tiny_config(version, dtype='float32').model)
    model.load_weights(checkpoints[version])
    model.train()
    batch = batch_of(model, version)
    (padded, theirs), (packed, ours) = (learn(model, batch, pack) for pack in (False, True))
    assert packed['loss'].item() == pytest.approx(padded['loss'].item(), abs=1e-6)
    assert packed['slots'] == packed['tokens'] == padded['tokens'] < padded['slots']
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert torch.allclose(gradient, theirs[name], atol=1e-6), name


def test_of_a_packed_row_only_learned_tokens_get_logits(checkpoints):
    """For a vocabulary of 32,000 the others' are most of a step's memory."""
    model = BUILD.build(tiny_config('v1.5', dtype='float32', pack=True).model)
    model.load_weights(checkpoints['v1.5'])
    data = model.data_preprocessor(batch_of(model, 'v1.5'))
    labels = model.prepare_inputs(
        *data.values(), model.prompt_builder.encode_conversation, 'packed'
    ).labels
    seen = []
    model.language.lm.lm_head.register_forward_hook(lambda _, given, out: seen.append(out.shape))
    model(**data, mode='loss')
    learned = int((labels[:, 1:] != -100).sum())
    assert [shape[:2] for shape in seen] == [(1, learned)] and learned < labels.shape[1] / 2


def test_a_sample_does_not_see_its_neighbour(checkpoints):
    """The same first sample, before another second one, learns from the same logits."""
    model = BUILD.build(tiny_config('v1.5', pack=True).model)
    model.load_weights(checkpoints['v1.5'])
    whole = batch_of(model, 'v1.5')
    outputs = []
    for other in (2, 3):
        part = {key: [values[other], values[1]] for key, values in whole.items()}
        data = model.data_preprocessor(part)
        batch = model.prepare_inputs(
            *data.values(), model.prompt_builder.encode_conversation, 'packed'
        )
        with torch.no_grad():
            logits = model.language(batch.embeds, None, batch.positions)
        start = int((batch.positions[0] == 0).nonzero()[1])
        outputs.append(logits[0, start:])
    assert torch.allclose(*outputs, atol=1e-5)


def test_a_model_that_was_packed_answers_as_before(checkpoints):
    model = get_model(tiny_config('v1.5'), pretrained=str(checkpoints['v1.5']), device='cpu')
    picture, question = str(MODELS / 'images/1.png'), 'What is it?'
    before = inference_model(model, picture, question)
    model.train()
    learn(model, batch_of(model, 'v1.5'), True)
    model.eval()
    assert inference_model(model, picture, question) == before


def flash_by_its_description(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    dropout_p,
    softmax_scale,
    causal,
):
    """What flash-attn's documentation says of ``flash_attn_varlen_func``, written out; no GPU."""
    assert cu_seqlens_q.dtype == torch.int32 and cu_seqlens_q.tolist() == cu_seqlens_k.tolist()
    assert causal and dropout_p == 0 and q.dtype == k.dtype == v.dtype == torch.bfloat16
    group, parts = q.shape[1] // k.shape[1], []
    ends = cu_seqlens_q.tolist()
    assert max_seqlen_q == max_seqlen_k == max(b - a for a, b in pairwise(ends))
    for a, b in pairwise(ends):
        queries = q[a:b].float()
        keys, values = (t[a:b].float().repeat_interleave(group, 1) for t in (k, v))
        scores = torch.einsum('ihd,jhd->hij', queries, keys) * softmax_scale
        later = torch.ones(b - a, b - a).triu(1).bool()
        weights = scores.masked_fill(later, -torch.inf).softmax(-1)
        parts.append(torch.einsum('hij,jhd->ihd', weights, values))
    return torch.cat(parts).to(q.dtype)


@pytest.mark.parametrize(('broken', 'told'), [(True, True), (False, False)])
def test_a_flash_attn_that_cannot_be_imported_is_told(monkeypatch, tmp_path, broken, told):
    said = []
    monkeypatch.setattr(packed_attention, 'print_log', lambda message, **_: said.append(message))
    monkeypatch.setitem(sys.modules, 'flash_attn', SimpleNamespace() if broken else None)
    assert packed_attention._flash.__wrapped__() is None
    assert [m for m in said if 'is installed and cannot be imported' in m] == said
    assert bool(said) == told


def test_one_call_of_flash_attention_is_what_one_call_a_sample_is():
    """Its call is checked against its description; the function itself needs a GPU."""
    torch.manual_seed(0)
    lengths, scale = [3, 1, 5], 0.5
    query, key, value = (torch.randn(1, h, 9, 4, requires_grad=True) for h in (4, 2, 2))
    found = flash_varlen(
        flash_by_its_description, query, key, value, lengths, torch.bfloat16, dict(scaling=scale)
    )
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            *samples, is_causal=True, scale=scale, enable_gqa=True
        )
        for samples in zip(*(t.split(lengths, 2) for t in (query, key, value)), strict=True)
    ]
    expected = torch.cat(parts, 2).transpose(1, 2)
    assert found.shape == expected.shape == (1, 9, 4, 4)
    assert torch.allclose(found.float(), expected, atol=0.03)
    ours = torch.autograd.grad(found.float().pow(2).sum(), (query, key, value))
    theirs = torch.autograd.grad(expected.pow(2).sum(), (query, key, value))
    assert all(torch.allclose(a, b, atol=0.3) for a, b in zip(ours, theirs, strict=True))
