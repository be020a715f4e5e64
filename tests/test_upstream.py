"""What README.md says of mmpretrain's own LLaVA, shown on the mmpretrain that is installed.

If one of these fails after an update, upstream changed: correct the README.
"""

from pathlib import Path
from types import SimpleNamespace

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from torch import nn

import mmllava
from mmllava.prompts.templates import SYSTEM_HUMAN

CONFIGS = Path(mmpretrain.__file__).parent / '.mim/configs/llava'


@pytest.fixture(scope='module')
def upstream():
    mmllava.get_model('llava-7b-v1_caption')  # mends mmpretrain.models for this transformers
    from mmpretrain.models.multimodal.llava import llava, modules

    return SimpleNamespace(llava=llava.Llava, modules=modules.LlavaLlamaForCausalLM)


def test_it_reads_the_last_block_of_the_tower(upstream):
    config = Config.fromfile(CONFIGS / 'llava-7b-v1.5_caption.py')
    assert 'out_indices' not in config.model.vision_encoder  # so one state comes: the last
    states = [torch.full((1, 3, 4), float(k)) for k in range(2)]
    language = SimpleNamespace(model=SimpleNamespace(mm_projector=nn.Identity()))
    model = SimpleNamespace(
        vision_tower=lambda images: states,
        lang_encoder=language,
        use_im_start_end=False,
        im_token_index=-200,
        embed_tokens=lambda ids: torch.zeros(len(ids), 4),
        mm_vision_select_layer=-2,
    )
    ids = torch.tensor([[5, -200, 6]])
    out = upstream.modules.forward_vision_tower(model, ids, None, None, None, images='an image')
    assert out[3][0, 1:3].unique().tolist() == [1.0]  # states[-1], with select layer -2 set


def test_it_attends_to_padding_after_the_first_new_token(upstream):
    mask = torch.tensor([[0, 0, 1, 1]])
    past = [[torch.zeros(1, 1, 4, 2)]]
    model = SimpleNamespace(vision_tower=object())
    out = upstream.modules.forward_vision_tower(
        model, torch.tensor([[7]]), mask, past, None, images='an image'
    )
    assert out[1].tolist() == [[1, 1, 1, 1, 1]]


def test_it_gives_no_start_of_text(upstream):
    asked = []

    class Tokenizer:
        def __call__(self, text, **kwargs):
            asked.append(kwargs)
            return SimpleNamespace(input_ids=[5])

        def pad(self, tokens, **kwargs):
            return torch.tensor([tokens[0]['input_ids']])

    model = SimpleNamespace(prompt_tmpl='a <image> b', tokenizer=Tokenizer())
    sample = SimpleNamespace(to_dict=dict)
    upstream.llava.preprocess_text(model, [sample], device='cpu')
    assert asked == [dict(add_special_tokens=False)] * 2


@pytest.mark.parametrize('name', ['llava-7b-v1.5_caption', 'llava-7b-v1.5_vqa'])
def test_it_says_user_where_the_model_was_trained_with_capitals(name):
    prompt = Config.fromfile(CONFIGS / f'{name}.py').model.prompt_tmpl
    assert prompt.startswith(f'{SYSTEM_HUMAN} User: <image>') and 'USER' not in prompt


def test_it_squashes_pictures(upstream):
    steps = Config.fromfile(CONFIGS / 'llava-7b-v1.5_caption.py').test_pipeline
    assert [s.scale for s in steps if s.type == 'Resize'] == [(336, 336)]


def test_it_has_no_loss(upstream):
    with pytest.raises(NotImplementedError):
        upstream.llava.forward(None, torch.zeros(1), mode='loss')


def test_its_loader_keeps_random_weights_and_prints(tmp_path, capsys):
    torch.save(dict(state_dict=dict(nothing=torch.zeros(1))), tmp_path / 'x.pth')
    mmllava.get_model('resnet18_8xb32_in1k', pretrained=str(tmp_path / 'x.pth'))
    assert 'unexpected key' in capsys.readouterr().out


class Payload:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), 'w'))


def test_its_loader_runs_code_from_a_pickle(tmp_path):
    import mmengine

    if tuple(int(n) for n in mmengine.__version__.split('.')) < (0, 10, 8):
        pytest.skip("the original mmengine's loader fails on such a file with torch 2.6 and later")
    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, extra=Payload(tmp_path / 'ran')), evil)
    mmllava.get_model('resnet18_8xb32_in1k', pretrained=str(evil))
    assert (tmp_path / 'ran').exists()
