"""A sample becomes ids and labels, and ids become an answer."""

import pytest

from mmllava.prompts.templates import get_template


@pytest.mark.parametrize(
    ('template', 'text', 'answer'),
    [
        ('llava_v0', 'A cat. ### Human: x', 'A cat.'),
        ('llava_v0', '### Human: x', ''),
        ('chatml_direct', 'A # cat.<|im_end|>\n', 'A # cat.'),
        ('vicuna_v1', ' A ### cat. ', 'A ### cat.'),
    ],
)
def test_a_stop_that_is_text_is_cut_off_with_all_that_follows(
    tiny_model, monkeypatch, template, text, answer
):
    monkeypatch.setattr(tiny_model, 'template', get_template(template))
    assert tiny_model.decode_answer(tiny_model.tokenizer.encode(text)) == answer
