"""A row of a batch is what it is alone: images, logits, answers and losses."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmllava.datasets.collate import collate as collate_samples
from mmllava.models.splice import collate
from mmllava.structures import IGNORE_INDEX, IMAGE_TAG
from tests.conftest import MODELS
from tests.helpers.strategies import dialogues, questions

FEW = settings(max_examples=max(settings.default.max_examples // 25, 4))
PICTURES = [str(MODELS / f'images/{k}.png') for k in range(6)]


@pytest.fixture(scope='module')
def sample_of(tiny_model):
    """Makes what the pipeline makes of images, with fields of a data sample."""
    from mmllava.apis.inferencers import VQAInferencer

    pipeline = VQAInferencer(tiny_model).pipeline

    def make(pictures, **fields):
        sample = pipeline(dict(img=list(pictures)))
        for name, value in fields.items():
            sample['data_samples'].set_field(value, name)
        return sample

    return make


def run(model, samples, mode):
    """One batch through the preprocessor and the model."""
    batch = model.data_preprocessor(collate_samples(copy.deepcopy(samples)))
    return model(**batch, mode=mode)


@st.composite
def asked(draw):
    """A question and its images, none to three of them."""
    question = draw(questions(max_images=3).filter(lambda text: '<im_patch>' * 2 not in text))
    count = question.count(IMAGE_TAG) or draw(st.integers(0, 2))
    return question, draw(st.lists(st.sampled_from(PICTURES), min_size=count, max_size=count))


BATCHES = st.lists(asked(), min_size=2, max_size=4)


@pytest.mark.slow
@FEW
@torch.no_grad()
@given(rows=BATCHES)
def test_logits_of_a_row_are_those_that_it_has_alone(tiny_model, sample_of, rows):
    samples = [sample_of(pictures, question=question) for question, pictures in rows]
    together = run(tiny_model, samples, 'tensor')
    for sample, logits in zip(samples, together, strict=True):
        (alone,) = run(tiny_model, [sample], 'tensor')
        assert (logits[-len(alone) :] - alone).abs().max() < 1e-4


@FEW
@given(rows=BATCHES)
def test_an_answer_does_not_depend_on_its_neighbours(tiny_model, sample_of, rows):
    samples = [sample_of(pictures, question=question) for question, pictures in rows]
    together = [s.pred_answer for s in run(tiny_model, samples, 'predict')]
    alone = [run(tiny_model, [sample], 'predict')[0].pred_answer for sample in samples]
    assert together == alone


@pytest.mark.slow
@FEW
@torch.no_grad()
@given(rows=st.lists(dialogues(max_rounds=2), min_size=2, max_size=3), data=st.data())
def test_the_loss_of_a_batch_is_the_mean_over_the_learned_tokens_of_its_rows(
    tiny_model, sample_of, rows, data
):
    samples, counts = [], []
    for rounds in rows:
        messages = [
            {'from': speaker, 'value': text}
            for pair in rounds
            for speaker, text in zip(('human', 'gpt'), pair, strict=True)
        ]
        count = sum(question.count(IMAGE_TAG) for question, _ in rounds)
        pictures = data.draw(
            st.lists(st.sampled_from(PICTURES), min_size=count, max_size=count), label='images'
        )
        samples.append(sample_of(pictures, conversations=messages))
        prompt = tiny_model.prompt_builder.encode_conversation(samples[-1]['data_samples'], count)
        counts.append(sum(label != IGNORE_INDEX for label in prompt.labels))
    alone = [run(tiny_model, [sample], 'loss')['loss'].item() for sample in samples]
    together = run(tiny_model, samples, 'loss')['loss'].item()
    mean = sum(a * n for a, n in zip(alone, counts, strict=True)) / sum(counts)
    assert together == pytest.approx(mean, abs=1e-4)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    side=st.sampled_from(['left', 'right']),
)
def test_a_collated_row_is_the_row_and_nothing_where_the_mask_is_off(lengths, side):
    rows = [(torch.randn(n, 3), torch.arange(n)) for n in lengths]
    batch = collate(rows, side)
    for (embeds, labels), got, mask, targets in zip(
        rows, batch.embeds, batch.mask.bool(), batch.labels, strict=True
    ):
        assert torch.equal(got[mask], embeds) and torch.equal(targets[mask], labels)
        assert (got[~mask] == 0).all() and (targets[~mask] == IGNORE_INDEX).all()
        assert mask[-1 if side == 'left' else 0]
        assert len(set(mask.tolist())) == 1 or mask[0 if side == 'left' else -1] == 0
