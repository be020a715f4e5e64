"""An answer is that of the plain loop alone, whoever shares the engine."""

import random
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmllava.errors import ConfigError, GenerationError, PromptError
from mmllava.generation.config import generation_config
from mmllava.generation.engine import Engine
from mmllava.generation.loop import decode_batch
from mmllava.generation.request import Request
from mmllava.generation.stop import StopRule
from mmllava.models.language import LanguageModel
from tests.test_generation.conftest import Tokenizer

SETTINGS = [
    dict(),
    dict(repetition_penalty=1.5),
    dict(do_sample=True, temperature=1.5),
    dict(do_sample=True, top_k=4, top_p=0.9),
]


def request(language, keys, **kwargs):
    return Request(language.embed(torch.tensor(keys)), keys, **kwargs)


def alone(language, asked):
    """The plain loop's answer to a request."""
    limits = language.limit_tokens(asked.settings, len(asked.keys))
    config = generation_config(limits, Tokenizer(), 12)
    generator = torch.Generator().manual_seed(asked.seed or 0)
    stop = asked.stop[0] if asked.stop else None
    (ids,) = decode_batch(
        language,
        asked.embeds[None],
        language.new_cache(),
        config,
        [config.max_new_tokens],
        StopRule(Tokenizer(), stop),
        generator=generator,
    )
    return ids


@st.composite
def arrivals(draw):
    """(keys, settings, stop, seed, steps before it comes, tokens after which it is cancelled)."""
    shared = [3, 4, 5, 6, 8, 9, 10, 2]
    start = shared[: draw(st.integers(0, len(shared)))]
    keys = start + draw(st.lists(st.integers(0, 11), min_size=1, max_size=12))
    chosen = dict(draw(st.sampled_from(SETTINGS)), max_new_tokens=draw(st.integers(1, 30)))
    stop = draw(st.sampled_from([(), (), ('<5>',), ('<2><3>',)]))
    wait = draw(st.integers(0, 6))
    return (
        keys,
        chosen,
        stop,
        draw(st.integers(0, 99)),
        wait,
        draw(st.sampled_from([None, None, 0, 3])),
    )


@pytest.mark.slow
@settings(max_examples=max(settings.default.max_examples // 4, 15), deadline=None)
@given(
    script=st.lists(arrivals(), min_size=1, max_size=8),
    slots=st.integers(1, 4),
    budget=st.sampled_from([None, 64, 200]),
    chunk=st.sampled_from([1, 5, 512]),
)
def test_an_answer_is_that_of_the_plain_loop_whoever_shares_the_batch(
    language, script, slots, budget, chunk
):
    engine = Engine(language, Tokenizer(), slots, budget and budget * 2 * 2 * 16 * 4)
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmllava.generation.engine.PREFILL_CHUNK', chunk)
        for keys, chosen, stop, seed, wait, cancel in script:
            asked = request(language, keys, settings=chosen, stop=stop, seed=seed)
            made.append((engine.submit(asked), asked, cancel))
            for _ in range(wait):
                engine.step()
            for handle, _, after in made:
                if after is not None and len(handle._new) >= after:
                    handle.cancel()
        for handle, asked, _ in random.Random(0).sample(made, len(made)):
            answer, expected = handle.result(), alone(language, asked)
            if answer.finish_reason == 'cancelled':
                assert expected[: len(answer.ids)] == answer.ids
            else:
                assert answer.ids == expected
    stats = engine.stats
    assert not stats['running'] and not stats['waiting']
    if budget:
        assert stats['prefix_bytes'] <= engine.cache_bytes


@pytest.mark.parametrize('chosen', SETTINGS, ids=str)
def test_requests_of_several_lengths_share_a_batch(language, chosen):
    engine = Engine(language, Tokenizer(), slots=3)
    asked = [
        request(language, keys, settings=dict(chosen, max_new_tokens=12), seed=len(keys))
        for keys in ([3, 4], [3, 4, 5, 6, 8], [9], [3, 4, 5, 2, 2, 2, 1])
    ]
    handles = [engine.submit(each) for each in asked]
    assert [h.result().ids for h in handles] == [alone(language, each) for each in asked]


def test_a_sliding_window_is_kept():
    torch.manual_seed(3)
    sizes = dict(vocab_size=12, hidden_size=16, intermediate_size=32, num_hidden_layers=2)
    model = LanguageModel(
        model_type='mistral',
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        sliding_window=4,
        **sizes,
    ).eval()
    for parameter in model.lm.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    engine = Engine(model, Tokenizer())
    asked = [request(model, list(range(n)), settings=dict(max_new_tokens=20)) for n in (2, 6, 10)]
    handles = [engine.submit(each) for each in asked]
    assert [h.result().ids for h in handles] == [alone(model, each) for each in asked]


def test_prompts_that_begin_alike_are_read_once(language):
    engine, fed = Engine(language, Tokenizer()), []
    extend = language.extend_slots
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            language, 'extend_slots', lambda e, *a: fed.append(e.shape[1]) or extend(e, *a)
        )
        begin = [3, 4, 5, 6, 8, 9, 10, 2]
        asked = [request(language, [*begin, k], settings=dict(max_new_tokens=1)) for k in (1, 2, 3)]
        handles = [engine.submit(each) for each in asked]
        answers = [handle.result() for handle in handles]
    assert fed == [9, 1, 1]
    assert [answer.cached_tokens for answer in answers] == [0, 8, 8]
    assert engine.stats['cached_tokens'] == 16


def test_threads_share_an_engine_that_runs_by_itself(language):
    engine, answers = Engine(language, Tokenizer(), slots=2), {}
    engine.start()
    asked = [request(language, [k, 3], settings=dict(max_new_tokens=9)) for k in range(6)]

    def ask(number):
        answers[number] = engine.submit(asked[number]).result().ids

    threads = [threading.Thread(target=ask, args=[k]) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    engine.close()
    assert [answers[k] for k in range(6)] == [alone(language, each) for each in asked]
    with pytest.raises(ConfigError, match='closed'):
        engine.submit(asked[0])


def test_a_late_answer_ends_as_it_is(language):
    handle = Engine(language, Tokenizer()).submit(request(language, [3, 4], deadline_s=-1))
    assert handle.result().finish_reason == 'deadline'


def test_logprobs_are_those_before_penalties_and_temperature(language):
    chosen = dict(max_new_tokens=1, repetition_penalty=2.0, logit_bias={4: 100})
    asked = request(language, [3, 4], settings=chosen, logprobs=2)
    answer = Engine(language, Tokenizer()).submit(asked).result()
    raw = language.extend(asked.embeds[None], language.new_cache())[0].log_softmax(-1)
    (found,) = answer.logprobs
    assert found.id == 4 and found.logprob == pytest.approx(float(raw[4]), abs=1e-5)
    assert found.top[0][0] == int(raw.argmax()) and len(found.top) == 2


@pytest.mark.parametrize('temperature', [0, 0.0, 1e-40])
def test_sampling_without_temperature_is_greedy(language, temperature):
    chosen = dict(do_sample=True, temperature=temperature, max_new_tokens=8)
    answer = (
        Engine(language, Tokenizer()).submit(request(language, [3, 4], settings=chosen)).result()
    )
    assert answer.ids == alone(language, request(language, [3, 4], settings=dict(max_new_tokens=8)))


@pytest.mark.parametrize(
    ('chosen', 'message'),
    [
        (dict(num_beams=2), 'has no beams'),
        (dict(guidance_scale=2.0), "unknown setting of the engine 'guidance_scale'"),
        (dict(logit_bias={99: 1}), 'expected token ids from 0 to 11'),
        (dict(presence_penalty=3), 'from -2 to 2'),
        (dict(max_new_tokens=0), 'whole number from 1 on'),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_runs(language, chosen, message):
    with pytest.raises(ConfigError, match=message):
        Engine(language, Tokenizer()).submit(request(language, [3, 4], settings=chosen))


def test_what_cannot_fit_is_refused(language):
    engine = Engine(language, Tokenizer(), cache_bytes=1000)
    with pytest.raises(PromptError, match='cache_bytes is 1000'):
        engine.submit(request(language, [3, 4], settings=dict(max_new_tokens=30)))
    with pytest.raises(PromptError, match='context is 64'):
        engine.submit(request(language, [3] * 64))


def test_logits_that_are_no_numbers_end_one_request_and_no_other(language):
    engine = Engine(language, Tokenizer())
    broken = request(language, [3, 4], settings=dict(max_new_tokens=5))
    broken.embeds = broken.embeds * torch.nan
    broken.keys = [('broken', 0), ('broken', 1)]
    good = request(language, [3, 4], settings=dict(max_new_tokens=5))
    bad, fine = engine.submit(broken), engine.submit(good)
    with pytest.raises(GenerationError, match="NaN or infinity.*dtype='bfloat16'"):
        bad.result()
    assert fine.result().ids == alone(language, good)


def test_memory_stays_flat_over_many_requests(language):
    engine = Engine(language, Tokenizer(), slots=4, cache_bytes=64 * 4 * 256)
    drawn = random.Random(1)
    for _ in range(60):
        keys = [drawn.randrange(12) for _ in range(drawn.randrange(1, 20))]
        handle = engine.submit(request(language, keys, settings=dict(max_new_tokens=4)))
        if drawn.random() < 0.3:
            handle.cancel()
        handle.result()
        stats = engine.stats
        assert stats['slot_bytes'] + stats['prefix_bytes'] <= engine.cache_bytes * 1.02
