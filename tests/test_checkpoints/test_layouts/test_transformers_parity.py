"""What is written for transformers is read by transformers, and answers as the original did.

Its classes are the second implementation here: they know nothing of this package.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmllava.checkpoints import compare, prepare_conversion, read_config, write_conversion
from mmllava.checkpoints.layouts import hf_config
from mmllava.checkpoints.layouts.hf_processor import TEMPLATES
from mmllava.checkpoints.layouts.hf_tokenizer import tokenizer_files
from mmllava.errors import CheckpointError
from mmllava.prompts.render import render
from mmllava.prompts.templates import get_template
from mmllava.structures import Turn
from tests.conftest import MODELS, tiny_config

CLASSES = {'v1.5': 'LlavaForConditionalGeneration', 'v1.6': 'LlavaNextForConditionalGeneration'}
VERSIONS = sorted(CLASSES)
IMAGE = 1000  # the first row that LLaVA's vocabulary does not have


def convert(source, to, out, **options):
    write_conversion(prepare_conversion(source, to, **options), out)
    return out


@pytest.fixture(scope='module', params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(scope='module')
def exported(version, tmp_path_factory):
    """The recorded model in transformers' layout."""
    out = tmp_path_factory.mktemp('hf') / 'model'
    return convert(MODELS / f'llava-{version}', 'hf', out, tower=MODELS / 'clip-tiny')


@pytest.fixture(scope='module')
def theirs(version, exported):
    """transformers' own model of it."""
    import transformers

    model, report = getattr(transformers, CLASSES[version]).from_pretrained(
        exported, output_loading_info=True
    )
    assert not any(report.values()), report
    return model.eval()


@pytest.fixture(scope='module')
def processor(exported):
    from transformers import AutoProcessor

    # With Pillow, as the original: torchvision's resizing moves pixels by up to 0.09.
    return AutoProcessor.from_pretrained(exported, use_fast=False)


def asked(processor, *rows):
    """The model's inputs for recorded questions, all of it transformers' own work."""
    texts, pictures = [], []
    for row in rows:
        words = [dict(type='image'), dict(type='text', text=row['question'])]
        chat = [dict(role='user', content=words)]
        texts.append(processor.apply_chat_template(chat, add_generation_prompt=True))
        assert texts[-1] == row['prompt']
        pictures.append(Image.open(MODELS / row['image']).convert('RGB'))
    return processor(images=pictures, text=texts, return_tensors='pt')


def test_the_processor_gives_the_originals_ids_and_pixels(
    processor, golden, golden_arrays, version
):
    aspect = {'v1.5': 'pad', 'v1.6': 'anyres'}[version]
    for row in golden['models'][version]['predict']:
        inputs = asked(processor, row)
        ids = inputs['input_ids'][0].tolist()
        assert len(ids) == row['merged_len']
        expected = [k for k in row['input_ids'] if k != -200]
        assert [k for k in ids if k != IMAGE] == expected
        number = row['image'].partition('/')[2].removesuffix('.png')
        pixels = inputs['pixel_values'][0].numpy()
        assert np.abs(pixels - golden_arrays[f'pixels/{aspect}/{number}']).max() < 1e-5


@torch.no_grad()
def test_transformers_gives_the_originals_answers(
    theirs, processor, golden, golden_arrays, version
):
    rows = golden['models'][version]['predict']
    for length in {row['merged_len'] for row in rows}:  # rows as long as each other: no padding
        batch = {k: row for k, row in enumerate(rows) if row['merged_len'] == length}
        inputs = asked(processor, *batch.values())
        out = theirs.generate(**inputs, max_new_tokens=24, do_sample=False)
        logits = theirs(**inputs).logits[:, -4:, :IMAGE].numpy()
        for (number, row), ids, found in zip(batch.items(), out.tolist(), logits, strict=True):
            assert ids[length:] == row['greedy_ids'][1:]
            assert np.abs(found - golden_arrays[f'logits/{version}/{number}']).max() < 1e-4


@torch.no_grad()
def test_a_padded_row_is_a_copy_of_the_first_word(theirs):
    for matrix in (theirs.get_input_embeddings().weight, theirs.get_output_embeddings().weight):
        assert matrix.shape[0] == 1024
        assert torch.equal(matrix[IMAGE:], matrix[:1].expand(24, -1))


def test_what_transformers_saves_again_converts_back(theirs, processor, tmp_path, version):
    theirs.save_pretrained(tmp_path / 'saved')
    processor.save_pretrained(tmp_path / 'saved')
    back = convert(tmp_path / 'saved', 'original', tmp_path / 'back')
    found = compare(back, MODELS / f'llava-{version}')
    assert (found.different, found.up_to_dtype, found.only_second) == (0, 0, ())
    assert all('vision_tower' in name for name in found.only_first)
    again = convert(tmp_path / 'saved', 'hf', tmp_path / 'again')
    assert compare(again, back).same


@torch.no_grad()
@pytest.mark.parametrize('layout', ['mmllava', 'original'])
def test_a_folder_that_transformers_saved_gives_its_logits_here(
    tmp_path, processor, version, layout
):
    import transformers

    from mmllava import get_model

    folder = tmp_path / 'random'
    torch.manual_seed(7)
    told = read_config(MODELS / 'clip-tiny')
    vision = {k: v for k, v in told.items() if k in (
        'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
        'image_size', 'patch_size', 'model_type',
    )}  # fmt: skip
    text = dict(
        model_type='llama', vocab_size=1064, hidden_size=48, intermediate_size=96,
        num_hidden_layers=2, num_attention_heads=4, rms_norm_eps=1e-5, initializer_range=0.3,
    )  # fmt: skip
    config_class = getattr(transformers, 'LlavaConfig' if version == 'v1.5' else 'LlavaNextConfig')
    grid = {} if version == 'v1.5' else dict(
        image_grid_pinpoints=[[112, 56], [56, 112], [112, 112], [56, 168], [168, 56]]
    )  # fmt: skip
    config = config_class(
        vision_config=vision, text_config=text, image_token_index=IMAGE, image_seq_length=16, **grid
    )
    model = getattr(transformers, CLASSES[version])(config).eval()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    ours = get_model(
        tiny_config(version),
        pretrained=str(convert(folder, layout, tmp_path / layout)),
        device='cpu',
    )
    from mmpretrain import VisualQuestionAnsweringInferencer

    pipeline = VisualQuestionAnsweringInferencer(ours).pipeline
    question, image = 'What is it?', 'images/1.png'
    data = pipeline(dict(img=str(MODELS / image)))
    data['data_samples'].set_field(question, 'question')
    batch = ours.data_preprocessor(
        dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
    )
    logits = ours(**batch, mode='tensor')[0]
    turns = [Turn('user', f'<image>\n{question}'), Turn('assistant', None)]
    prompt = render(get_template('vicuna_v1'), turns)
    text = ''.join(segment.text for segment in prompt)
    inputs = processor(
        images=Image.open(MODELS / image).convert('RGB'), text=text, return_tensors='pt'
    )
    expected = model(**inputs).logits[0, :, :IMAGE]
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() < 1e-4


def test_the_state_of_a_trained_model_goes_to_transformers(tmp_path, version, exported):
    from mmllava import get_model

    folder = convert(exported, 'mmllava', tmp_path / 'folder')
    model = get_model(tiny_config(version), pretrained=str(folder), device='cpu')
    torch.save(dict(meta=dict(iter=7), state_dict=model.state_dict()), tmp_path / 'iter_7.pth')
    out = convert(
        tmp_path / 'iter_7.pth', 'hf', tmp_path / 'hf', base=folder, tower=MODELS / 'clip-tiny'
    )
    found = compare(out, exported)
    # All but what the model leaves out of its tower; the stock one's is taken for that.
    assert found.equal >= 78 and found.different <= 2 * (version == 'v1.6'), found


def test_ids_are_those_of_the_slow_tokenizer(golden, tmp_path):
    from tokenizers import Tokenizer

    files = tokenizer_files(MODELS / 'tokenizer', IMAGE, 'LlavaProcessor')
    tokenizer = Tokenizer.from_str(files['tokenizer.json'].decode())
    rows = golden['tokenize']
    assert len(rows) > 10
    for row in rows:
        ids = [-200 if k == IMAGE else k for k in tokenizer.encode(row['prompt']).ids]
        assert ids == row['legacy_true'], row['prompt']


@pytest.mark.parametrize('name', sorted(TEMPLATES))
def test_a_chat_template_renders_what_ours_renders(name):
    jinja2 = pytest.importorskip('jinja2')

    written = jinja2.Environment().from_string(TEMPLATES[name])
    words = ['<image>\nWhat is it?', 'A cat.', 'Which colour?', 'Red.']
    for count in (1, 2, 3, 4):
        roles = ('user', 'assistant') * 2
        turns = [Turn(role, text) for role, text in zip(roles, words[:count], strict=False)]
        chat = [dict(role=turn.role, content=turn.text) for turn in turns]
        asks = count % 2 == 1
        turns += [Turn('assistant', None)] * asks
        expected = ''.join(s.text for s in render(get_template(name), turns))
        assert written.render(messages=chat, add_generation_prompt=asks) == expected


def test_a_system_message_takes_the_place_of_the_models_own():
    jinja2 = pytest.importorskip('jinja2')

    def refuse(reason):
        raise ValueError(reason)

    environment = jinja2.Environment()
    environment.globals['raise_exception'] = refuse
    chat = [dict(role='system', content='Be brief.'), dict(role='user', content='What is it?')]
    made = {
        name: environment.from_string(TEMPLATES[name]).render
        for name in ('vicuna_v1', 'chatml_direct')
    }
    assert made['vicuna_v1'](messages=chat) == 'Be brief. USER: What is it? '
    expected = '<|im_start|>system\nBe brief.<|im_end|><|im_start|>user\nWhat is it?<|im_end|>'
    assert made['chatml_direct'](messages=chat) == expected
    with pytest.raises(ValueError, match='without a system message; leave it out'):
        environment.from_string(TEMPLATES['mistral_instruct']).render(messages=chat)


def test_the_grid_is_written_as_height_and_width(tmp_path):
    out = convert(MODELS / 'llava-v1.6', 'hf', tmp_path / 'hf', tower=MODELS / 'clip-tiny')
    ours = read_config(MODELS / 'llava-v1.6')['image_grid_pinpoints']
    theirs = json.loads((out / 'config.json').read_text())['image_grid_pinpoints']
    assert theirs == [[h, w] for w, h in ours] != ours


def test_a_released_config_that_says_little_is_understood():
    """As llava-hf/llava-1.5-7b-hf has it: what is not said is transformers' default."""
    told = dict(
        model_type='llava', image_token_index=32000, projector_hidden_act='gelu',
        vision_feature_layer=-2, vision_feature_select_strategy='default', torch_dtype='float16',
        text_config=dict(
            model_type='llama', max_position_embeddings=4096, rms_norm_eps=1e-5, vocab_size=32064
        ),
        vision_config=dict(
            model_type='clip_vision_model', hidden_size=1024, image_size=336,
            intermediate_size=4096, num_attention_heads=16, num_hidden_layers=24, patch_size=14,
        ),
    )  # fmt: skip
    made = hf_config.to_original(told, MODELS)
    expected = dict(
        hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11008,
        rms_norm_eps=1e-5, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2,
        mm_vision_tower='openai/clip-vit-large-patch14-336', mm_hidden_size=1024,
        mm_vision_select_layer=-2, mm_projector_type='mlp2x_gelu', image_aspect_ratio='pad',
    )  # fmt: skip
    assert made.items() >= expected.items()
    mistral = dict(told, text_config=dict(model_type='mistral', sliding_window=None))
    made = hf_config.to_original(mistral, MODELS)
    assert (made['model_type'], made['num_key_value_heads']) == ('llava_mistral', 8)
    assert made['sliding_window'] is None
    full = dict(told, vision_feature_select_strategy='full')
    assert hf_config.to_original(full, MODELS)['mm_vision_select_feature'] == 'cls_patch'
    rope = dict(rope_type='linear', factor=2.0, rope_theta=5e5)  # transformers 5
    text = dict(told['text_config'], rope_parameters=rope)
    made = hf_config.to_original(dict(told, text_config=text), MODELS)
    assert made['rope_theta'] == 5e5
    assert made['rope_scaling'] == dict(rope_type='linear', factor=2.0)
    with pytest.raises(CheckpointError, match='projector_hidden_act relu.*expected llama'):
        hf_config.to_original(dict(told, projector_hidden_act='relu'), MODELS)


def test_the_vocabulary_is_padded_as_in_the_released_checkpoints():
    """llava-hf's have 32,064 rows, and 64,064 on Yi."""
    assert [hf_config.padded_rows(rows) for rows in (32000, 64000)] == [32064, 64064]


def test_a_bare_file_takes_the_config_of_a_transformers_folder(tmp_path, exported):
    file = convert(exported, 'mmllava', tmp_path / 'x.pth')
    conversion = prepare_conversion(file, 'original', exported)
    made = json.loads(conversion.files['config.json'])
    assert made.items() >= dict(vocab_size=IMAGE, mm_projector_type='mlp2x_gelu').items()


def test_a_grid_that_is_text_is_read_and_one_that_is_none_is_refused():
    vision = dict(image_size=336, patch_size=14)
    text = dict(image_grid_pinpoints='[(336, 672), (672, 336)]')
    made = hf_config.from_original(text, 32000, vision, tiles=True)
    assert made['image_grid_pinpoints'] == [[672, 336], [336, 672]]
    with pytest.raises(CheckpointError, match='image_grid_pinpoints None; expected'):
        hf_config.from_original({}, 32000, vision, tiles=True)


def test_words_after_the_picture_are_not_cut_away(tmp_path, exported):
    folder = shutil.copytree(exported, tmp_path / 'copy')
    (folder / 'added_tokens.json').write_text('{"<mine>": 1002}')
    with pytest.raises(CheckpointError, match=r'words after <image> \(id 1000\): <mine>'):
        prepare_conversion(folder, 'original')


def test_tied_embeddings_are_written_out(tmp_path, exported, version):
    folder = shutil.copytree(exported, tmp_path / 'copy')
    (file,) = folder.glob('*.safetensors')
    tensors = load_file(file)
    del tensors['language_model.lm_head.weight']
    save_file(tensors, folder / 'model.safetensors')
    file.unlink()
    (folder / 'model.safetensors.index.json').unlink()
    with pytest.raises(CheckpointError, match='lacks lm_head.weight'):
        prepare_conversion(folder, 'original')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(dict(config, tie_word_embeddings=True)))
    made = load_file(
        convert(folder, 'original', tmp_path / 'out') / 'model-00001-of-00001.safetensors'
    )
    assert torch.equal(made['lm_head.weight'], made['model.embed_tokens.weight'])
    assert made['lm_head.weight'].shape[0] == IMAGE


def test_words_that_sentencepiece_never_cuts_stay_whole(tmp_path):
    """34B's ``<|im_start|>`` and ``<|im_end|>`` are pieces of its tokenizer.model."""
    import sentencepiece
    from tokenizers import Tokenizer

    text = tmp_path / 'text.txt'
    text.write_text('a cat and a dog on a blanket\nthe dog is white\n' * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(tmp_path / 'tokenizer'),
        model_type='bpe',
        vocab_size=300,
        byte_fallback=True,
        user_defined_symbols=['<|im_start|>', '<|im_end|>'],
        normalization_rule_name='identity',
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(str(tmp_path / 'tokenizer.model'))
    files = tokenizer_files(tmp_path, pieces.get_piece_size(), 'LlavaProcessor')
    tokenizer = Tokenizer.from_str(files['tokenizer.json'].decode())
    found = tokenizer.encode('a dog<|im_end|><|im_start|>').tokens
    assert found[-2:] == ['<|im_end|>', '<|im_start|>']
