"""tools/misc/check_data.py, as a user types it: every fault is planted and reported."""

import json
import shutil

import pytest
from PIL import Image

from tests.conftest import MODELS, ROOT
from tools.misc import check_data as tool

CONFIG = """
model = dict(
    type='mmllava.Llava',
    tokenizer=dict(type='mmllava.LlamaTokenizer', name_or_path='org/unreachable'),
    vision_encoder=dict(type='mmllava.CLIPVisionTower', name_or_path='{models}/clip-tiny'),
    lang_encoder=dict(type='mmllava.LanguageModel', name_or_path='{models}/llava-v1.5'),
    mm_proj_depth=2,
    template='vicuna_v1',
)
train_dataloader = dict(
    batch_size=2,
    sampler=dict(type='mmllava.ModalityLengthSampler', batch_size=2),
    collate_fn=dict(type='mmllava.keep_lists'),
    dataset=dict(
        type='mmllava.InstructDataset',
        ann_file='{data}/train.json',
        img_root='{data}/images',
        pipeline=[
            dict(type='mmllava.LoadImage'),
            dict(type='mmllava.CLIPResize', size=56, aspect='pad'),
            dict(type='mmpretrain.PackInputs', algorithm_keys=['conversations']),
        ],
    ),
)
"""
TOKENIZER = ('--tokenizer', MODELS / 'llava-v1.5')


def talk(question, answer='Yes, the bird is brown.'):
    return [{'from': 'human', 'value': question}, {'from': 'gpt', 'value': answer}]


def record(image, **other):
    return dict(dict(image=image, conversations=talk('<image>\nWhy?')), **other)


#: record -> its findings
RECORDS = [
    (record('0.png', id='good'), set()),
    (dict(conversations=talk('Hello.')), set()),
    (record('gone.png'), {'missing'}),
    (record('cut.png'), {'broken'}),
    (record('no.png'), {'broken'}),
    (record('bomb.png'), {'huge'}),
    (record('1.jpg'), {'extension'}),
    (record('wide.png'), {'large'}),
    (record(['0.png', '2.png']), {'marks'}),
    (dict(conversations=talk('<image> Why?')), {'marks'}),
    (dict(conversations=talk('Why?', '')), {'empty'}),
    (dict(conversations='Why?'), {'format'}),
    (record('../train.json'), {'format'}),
    (dict(conversations=talk('Why?', 'Yes. ' * 100)), {'long'}),
    (dict(conversations=talk('Why? ' * 100)), {'empty'}),
]
MAX_TOKENS = 150


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    images = shutil.copytree(MODELS / 'images', folder / 'images')
    shutil.copy(images / '1.png', images / '1.jpg')
    (images / 'cut.png').write_bytes((images / '0.png').read_bytes()[:80])
    (images / 'no.png').write_bytes(b'nothing')
    Image.new('1', (14_000, 14_000)).save(images / 'bomb.png')
    Image.new('1', (6_000, 5_000)).save(images / 'wide.png')
    (folder / 'train.json').write_text(json.dumps([record for record, _ in RECORDS]))
    (folder / 'config.py').write_text(CONFIG.format(data=folder, models=MODELS))
    return folder


def check(data, out, *args):
    args = (data / 'config.py', *TOKENIZER, '--workers', 0, '--out', out, *args)
    return tool.main([str(a) for a in args])


def good_only(data):
    good = [record for record, kinds in RECORDS if not kinds]
    (data / 'good.json').write_text(json.dumps(good))
    return ('--cfg-options', f'train_dataloader.dataset.ann_file={data}/good.json')


@pytest.fixture(scope='module')
def result(data, tmp_path_factory):
    """One run over all faults: exit status, output, folder."""
    import contextlib
    import io

    out, text = tmp_path_factory.mktemp('out') / 'new', io.StringIO()
    with contextlib.redirect_stdout(text):
        status = check(data, out, '--max-tokens', MAX_TOKENS)
    return status, text.getvalue(), out


def test_every_planted_fault_is_found_and_no_other(result):
    _, _, out = result
    found = [set() for _ in RECORDS]
    for finding in json.loads((out / 'findings.json').read_text()):
        number = int(finding['where'].split('[')[1].split(']')[0])
        found[number].add(finding['kind'])
    assert found == [kinds for _, kinds in RECORDS]


def test_the_last_line_counts(result):
    status, text, _ = result
    summary = json.loads(text.splitlines()[-1])
    assert status == 1
    assert (summary['records'], summary['with_images'], summary['text_only']) == (15, 9, 6)
    assert summary['bad'] == dict(missing=1, broken=2, huge=1, marks=2, empty=2, format=2)
    assert summary['notes'] == dict(extension=1, large=1, long=1)


def test_what_was_found_is_told_with_its_place(result):
    _, text, _ = result
    assert 'missing (cannot be learned): 1 x no image at its path' in text
    assert 'train.json[2]: no image at' in text
    assert '1.jpg is PNG, and its name ends in .jpg' in text
    assert 'bomb.png is too large' in text
    assert f'its answers lie beyond the first {MAX_TOKENS} of its' in text


def test_a_sample_is_shown_with_what_it_learns_in_colour(result):
    _, text, _ = result
    assert "train.json[0] (id 'good'), learned tokens in" in text
    assert 'USER: <image: 16 tokens>' in text
    assert 'ASSISTANT:\033[30;42m Yes, the bird is brown.</s>\033[0m' in text


def test_a_line_break_that_is_learned_is_shown(data, tmp_path, capsys):
    (data / 'lines.json').write_text(
        json.dumps([record('0.png', conversations=talk('<image>', 'A\nB'))])
    )
    option = f'train_dataloader.dataset.ann_file={data}/lines.json'
    assert check(data, tmp_path, '--cfg-options', option) == 0
    text = capsys.readouterr().out
    assert '\033[30;42m A\u21b5\033[0m\n\033[30;42mB</s>\033[0m' in text


def test_without_colour_what_is_learned_stands_in_brackets(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('NO_COLOR', '1')
    assert check(data, tmp_path, *good_only(data)) == 0
    text = capsys.readouterr().out
    assert 'ASSISTANT:[[ Yes, the bird is brown.</s>]]' in text and '\033' not in text


def test_the_histogram_is_a_png(result):
    with Image.open(result[2] / 'lengths.png') as image:
        assert image.format == 'PNG' and image.width > 500
        assert len(image.convert('RGB').getcolors(1 << 20)) > 10


def test_a_clean_set_exits_with_0(data, tmp_path, capsys):
    assert check(data, tmp_path, *good_only(data)) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary['bad'] == summary['notes'] == {}
    assert json.loads((tmp_path / 'findings.json').read_text()) == []


@pytest.mark.slow
def test_workers_find_the_same(data, result, tmp_path, capsys):
    assert check(data, tmp_path, '--max-tokens', MAX_TOKENS, '--workers', 2) == 1
    assert capsys.readouterr().out.splitlines()[-1] == result[1].splitlines()[-1]


def test_a_row_that_comes_often_is_looked_at_once(data, tmp_path, capsys):
    (data / 'twice.json').write_text(json.dumps([RECORDS[0][0]]))
    (data / 'weighted.py').write_text(
        f"_base_ = ['config.py']\n"
        f"train_dataloader = dict(dataset=dict(ann_file=[dict(ann_file='{data}/twice.json', "
        'weight=3)]))\n'
    )
    args = (data / 'weighted.py', *TOKENIZER, '--workers', 0, '--out', tmp_path)
    assert tool.main([str(a) for a in args]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary['records'], summary['samples_per_epoch']) == (1, 3)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('train_dataloader.batch_size=3', 'batch_size=3 and its sampler batch_size=2'),
        ('train_dataloader.collate_fn.type=pseudo_collate', "dict(type='mmllava.keep_lists')"),
        ('train_dataloader.dataset.ann_file=gone.json', 'cannot read gone.json'),
        ('train_dataloader.dataset.type=mmpretrain.COCOVQA', 'only a mmllava.InstructDataset can'),
        ('model.vision_encoder.name_or_path=/nowhere', '/nowhere'),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(data, tmp_path, capsys, option, message):
    assert check(data, tmp_path / 'new', '--cfg-options', option) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    ('resize', 'pack', 'message'),
    [
        (
            "size=28, aspect='pad'",
            "algorithm_keys=['conversations']",
            'CLIPResize has size=28, and the model takes 56',
        ),
        (
            "size=56, aspect='anyres', image_grid_pinpoints=[(56, 112)]",
            "algorithm_keys=['conversations']",
            'image_grid_pinpoints=[(56, 112)], and the model takes []',
        ),
        ("size=56, aspect='pad'", '', "Give PackInputs algorithm_keys=['conversations']"),
    ],
)
def test_a_pipeline_that_does_not_fit_the_model_is_refused(
    data, tmp_path, capsys, resize, pack, message
):
    (data / 'other.py').write_text(
        "_base_ = ['config.py']\n"
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='mmllava.LoadImage'), "
        f"dict(type='mmllava.CLIPResize', {resize}), dict(type='mmpretrain.PackInputs', {pack})]))"
    )
    args = (data / 'other.py', *TOKENIZER, '--workers', 0, '--out', tmp_path)
    assert tool.main([str(a) for a in args]) == 2
    assert message in capsys.readouterr().err


def test_a_config_that_is_not_there_is_refused(capsys):
    assert tool.main(['nowhere.py']) == 2
    assert 'no config file at nowhere.py' in capsys.readouterr().err


def test_a_config_of_a_test_is_refused(capsys):
    assert tool.main([str(ROOT / 'configs/_base_/default_runtime.py')]) == 2
    assert 'has no train_dataloader and model' in capsys.readouterr().err
