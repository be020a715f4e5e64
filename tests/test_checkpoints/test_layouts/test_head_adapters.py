"""Adapters on the head and parts trained whole, on bases of any layout: PEFT's own merge is equal.

PEFT wraps transformers' model of the base, and shares no code with ours.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmllava.checkpoints import prepare_conversion, read_config, write_conversion
from mmllava.errors import CheckpointError
from tests.conftest import MODELS
from tests.test_checkpoints.test_layouts.test_tied import (
    CLIP,
    EMBED,
    HEAD,
    KEY,
    convert,
    load_tool,
    tell,
    tensors_of,
    without_head,
)

peft = pytest.importorskip('peft')
ROWS, PADDED = 1000, 1024
PARTS = {
    'head': dict(target_modules=['q_proj', 'lm_head']),
    'head alone': dict(target_modules=['lm_head']),
    'whole head': dict(target_modules=['q_proj'], modules_to_save=['lm_head']),
    'whole embedding': dict(target_modules=['q_proj'], modules_to_save=['embed_tokens']),
    'both whole': dict(target_modules=['q_proj'], modules_to_save=['embed_tokens', 'lm_head']),
    'head, and embedding whole': dict(
        target_modules=['down_proj', 'lm_head'], modules_to_save=['embed_tokens']
    ),
}
TIED = {
    'whole head': False,
    'whole embedding': False,
    'both whole': False,
    'together': True,
}  # is PEFT's merge tied still?
TOGETHER = dict(
    target_modules=['q_proj'], modules_to_save=['embed_tokens'], ensure_weight_tying=True
)


@pytest.fixture(scope='module')
def bases(tmp_path_factory):
    """Of each kind a folder in transformers' layout, its vocabulary padded."""
    root = tmp_path_factory.mktemp('bases')
    made = {'hf': convert(MODELS / 'llava-v1.5', 'hf', root / 'hf', tower=CLIP)}
    tied = shutil.copytree(made['hf'], root / 'tied')
    text = read_config(tied)['text_config'] | {KEY: True}
    made['tied'] = tell(without_head(tied), text_config=text, **{KEY: True})
    return made


def loaded(folder):
    import transformers

    return transformers.LlavaForConditionalGeneration.from_pretrained(folder)


def trained(base, out, **settings):
    """PEFT's adapter with random values, saved by PEFT; and PEFT's merge, saved as a model."""
    config = peft.LoraConfig(r=4, lora_alpha=8, **settings)
    wrapped = peft.get_peft_model(loaded(base), config)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    wrapped.save_pretrained(out / 'adapter')
    merged = wrapped.merge_and_unload()
    merged.config.save_pretrained(out / 'merged')
    matrices = {
        HEAD: merged.get_output_embeddings().weight.detach().clone(),
        EMBED: merged.get_input_embeddings().weight.detach().clone(),
    }
    merged.config.tie_word_embeddings = merged.config.text_config.tie_word_embeddings = False
    merged.save_pretrained(out / 'merged', state_dict={
        k: v.clone() for k, v in merged.state_dict().items()
    })  # fmt: skip
    for file in base.iterdir():
        if not (out / 'merged' / file.name).exists() and 'safetensors' not in file.name:
            shutil.copy(file, out / 'merged')
    return out / 'adapter', matrices, out / 'merged'


def check(out, base, adapter, matrices, merged):
    """Converts the adapter and compares with PEFT's merge; gives the result's folder."""
    write_conversion(prepare_conversion(adapter, 'original', base), out / 'original')
    made = tensors_of(out / 'original')
    for name, expected in matrices.items():
        assert made[name].shape == (ROWS, 48)
        assert torch.allclose(made[name], expected[:ROWS], atol=1e-6), name
    logits = load_tool('compare_logits').logits
    expected = logits(merged)
    for to in ('hf', 'mmllava'):
        write_conversion(prepare_conversion(adapter, to, base), out / to)
        assert (logits(out / to) - expected).abs().max() < 1e-4
    assert (logits(out / 'original') - expected).abs().max() < 1e-4
    return out / 'original'


@pytest.mark.slow
@pytest.mark.parametrize('parts', PARTS)
@pytest.mark.filterwarnings('ignore')
def test_an_adapter_on_the_head_of_a_padded_vocabulary_is_merged_as_peft_merges_it(
    tmp_path, bases, parts
):
    check(tmp_path, bases['hf'], *trained(bases['hf'], tmp_path, **PARTS[parts]))


@pytest.mark.slow
@pytest.mark.parametrize('parts', TIED)
@pytest.mark.filterwarnings('ignore')
def test_what_is_trained_whole_on_a_tied_base_is_tied_as_peft_leaves_it(tmp_path, bases, parts):
    settings = TOGETHER if parts == 'together' else PARTS[parts]
    made = trained(bases['tied'], tmp_path, **settings)
    assert torch.equal(made[1][HEAD], made[1][EMBED]) is TIED[parts]
    out = check(tmp_path, bases['tied'], *made)
    assert read_config(out)[KEY] is TIED[parts]


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_an_adapter_beside_the_head_leaves_a_tied_base_tied(tmp_path, bases):
    made = trained(bases['tied'], tmp_path, target_modules=['q_proj', 'down_proj'])
    out = check(tmp_path, bases['tied'], *made)
    assert read_config(out)[KEY] is True


@pytest.mark.filterwarnings('ignore')
def test_an_adapter_on_a_tied_head_is_refused_with_a_way_that_works(tmp_path, bases):
    """PEFT's merge adds it to the embedding too: not the model that was trained."""
    adapter, matrices, _ = trained(bases['tied'], tmp_path, **PARTS['head'])
    base = tensors_of(bases['tied'])
    (embed,) = (t for n, t in base.items() if 'embed_tokens' in n)
    assert not torch.equal(matrices[EMBED], embed)  # a change in PEFT would be seen here
    with pytest.raises(CheckpointError, match=r'adapter on lm_head.*is tied.*Untie the base first'):
        prepare_conversion(adapter, 'original', bases['tied'])
    untied = shutil.copytree(bases['tied'], tmp_path / 'untied')
    for file in untied.glob('*.safetensors'):
        file.unlink()
    save_file(
        {**base, 'language_model.lm_head.weight': embed.clone()}, untied / 'model.safetensors'
    )
    text = read_config(untied)['text_config'] | {KEY: False}
    tell(untied, text_config=text, **{KEY: False})
    import transformers

    plain = transformers.LlavaForConditionalGeneration.from_pretrained(untied)
    merged = peft.PeftModel.from_pretrained(plain, adapter).merge_and_unload()
    write_conversion(prepare_conversion(adapter, 'original', untied), tmp_path / 'out')
    made = tensors_of(tmp_path / 'out')
    assert torch.equal(made[EMBED], embed[:ROWS])
    head = merged.get_output_embeddings().weight
    assert torch.allclose(made[HEAD], head[:ROWS], atol=1e-6)
    assert not torch.allclose(made[HEAD], embed[:ROWS], atol=1e-3)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('kind', ['hf', 'tied'])
def test_an_adapter_on_the_embedding_is_refused_by_name(tmp_path, bases, kind):
    made = trained(bases[kind], tmp_path, target_modules=['embed_tokens'])
    with pytest.raises(CheckpointError, match=r'lora_embedding_A.*Merge it with peft'):
        prepare_conversion(made[0], 'original', bases[kind])


@pytest.mark.filterwarnings('ignore')
def test_rows_for_new_words_after_the_padding_are_refused(tmp_path, bases):
    adapter = trained(bases['hf'], tmp_path, **PARTS['both whole'])[0]
    tensors = load_file(adapter / 'adapter_model.safetensors')
    more = {n: torch.cat([t, t[:2]]) for n, t in tensors.items() if t.shape[0] == PADDED}
    assert more
    save_file({**tensors, **more}, adapter / 'adapter_model.safetensors')
    with pytest.raises(CheckpointError, match=r'is \[1026, 48\]; expected 1024 rows as in the bas'):
        prepare_conversion(adapter, 'original', bases['hf'])


@pytest.mark.filterwarnings('ignore')
def test_half_an_adapter_on_the_head_is_refused(tmp_path, bases):
    adapter = trained(bases['hf'], tmp_path, **PARTS['head alone'])[0]
    tensors = load_file(adapter / 'adapter_model.safetensors')
    save_file(
        {n: t for n, t in tensors.items() if 'lora_A' not in n},
        adapter / 'adapter_model.safetensors',
    )
    with pytest.raises(CheckpointError, match=r'has only lora_B of lm_head.weight'):
        prepare_conversion(adapter, 'original', bases['hf'])


@pytest.mark.parametrize('to', ['original', 'hf'])
def test_what_llava_trains_beside_an_adapter_on_a_tied_base_stays_tied(tmp_path, bases, to):
    """Its training changes the one parameter, in place."""
    folder = tmp_path / 'lora'
    folder.mkdir()
    q = 'base_model.model.model.layers.0.self_attn.q_proj'
    pair = {f'{q}.lora_A.weight': torch.ones(4, 48), f'{q}.lora_B.weight': torch.zeros(48, 4)}
    save_file(pair, folder / 'adapter_model.safetensors')
    settings = dict(peft_type='LORA', r=4, lora_alpha=8, bias='none')
    (folder / 'adapter_config.json').write_text(json.dumps(settings))
    embed = torch.randn(ROWS, 48)
    torch.save(
        {'base_model.model.model.embed_tokens.weight': embed}, folder / 'non_lora_trainables.bin'
    )
    write_conversion(prepare_conversion(folder, to, bases['tied']), tmp_path / 'out')
    assert read_config(tmp_path / 'out')[KEY] is True
    matrices = [t for n, t in tensors_of(tmp_path / 'out').items() if t.shape[0] >= ROWS]
    assert len(matrices) == 2
    assert all(torch.equal(matrix[:ROWS], embed) for matrix in matrices)
