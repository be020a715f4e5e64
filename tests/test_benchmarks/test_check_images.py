"""Every image of a benchmark is decoded once; missing and broken ones are named."""

import json

import pytest

from mmllava.benchmarks.check_images import check_images
from mmllava.benchmarks.types import Item
from tests.conftest import ROOT
from tests.test_benchmarks.conftest import tool_arguments
from tools.misc import check_data


def test_every_image_of_a_benchmark_is_decoded_once(made, copied, tmp_path, capsys):
    folder = copied('coco')
    (folder / 'val2014/COCO_val2014_000000000001.jpg').unlink()
    (folder / 'val2014/COCO_val2014_000000000002.jpg').write_bytes(b'no image')
    config, root = tool_arguments(tmp_path, 'vqav2_val', 'coco')
    args = [str(config), '--workers', '0', '--out', str(tmp_path / 'out'), '--cfg-options', root]
    assert check_data.main(args) == 1
    said = capsys.readouterr().out
    assert json.loads(said.splitlines()[-1]) == dict(
        questions=12, answers=12, images=6, bad=dict(missing=1, broken=1)
    )
    assert 'question 0: no image at' in said
    assert 'question 20: ' in said
    assert 'Is square 0 red?\nAnswer the question using' in said
    assert len(json.loads((tmp_path / 'out/findings.json').read_text())) == 2
    args[-1] = tool_arguments(made, 'vqav2_val', 'coco')[1]
    assert check_data.main(args) == 0
    args[-1] = tool_arguments(made, 'vqav2_val', 'gone')[1]
    assert check_data.main(args) == 2
    assert 'cannot read' in capsys.readouterr().err
    assert check_images([Item(1, image=b'no'), Item(2)])[1][0]['kind'] == 'broken'


@pytest.mark.parametrize('flag', ['--tokenizer', '--max-tokens'])
def test_what_only_training_data_takes_is_refused_for_a_benchmark(flag, capsys):
    config = ROOT / 'configs/benchmarks/pope.py'
    assert check_data.main([str(config), flag, '3']) == 2
    assert f'{flag} goes with a config of training' in capsys.readouterr().err
