"""COCO, Karpathy's splits, NoCaps, Flickr30k: files read, captions scored, bad files refused."""

import pytest

from mmllava.benchmarks.captions import read_coco, read_karpathy, score_caption_set
from mmllava.errors import ConfigError
from tests.test_benchmarks.conftest import twice


def karpathy(folder):
    return read_karpathy(folder / 'annotations/dataset_coco.json', folder)


def captions(folder):
    return read_coco(folder / 'annotations/captions_val2014.json', folder / 'val2014')


READERS = {'captions': ('coco', captions), 'karpathy': ('coco', karpathy)}  # (folder, reader)


def test_an_image_is_captioned_once_however_many_references_it_has(made):
    folder = made / 'nocaps'
    items = read_coco(folder / 'annotations/nocaps_val_4500_captions.json', folder / 'images')
    assert len(items) == 6
    assert len(items[0].truth) == 10
    scores = score_caption_set(items, [item.truth[0] for item in items])
    assert scores['Bleu_1'] == pytest.approx(1)
    assert {'in-domain/CIDEr', 'near-domain/CIDEr', 'out-domain/CIDEr'} <= set(scores)
    left_out = score_caption_set(items, [*(i.truth[0] for i in items[:5]), None])
    assert left_out['Bleu_1'] == pytest.approx(1)
    items = read_coco(folder / 'annotations/nocaps_test_image_info.json', folder / 'images')
    assert items[0].truth is None
    flickr = read_karpathy(made / 'flickr30k/dataset_flickr30k.json', folder)
    assert (len(flickr), len(flickr[0].truth)) == (5, 2)


def test_karpathys_image_is_below_its_folder_and_has_cocos_number(made):
    items = karpathy(made / 'coco')
    assert [item.id for item in items] == [2, 4, 6]
    assert items[0].image.endswith('coco/val2014/COCO_val2014_000000000002.jpg')
    with pytest.raises(ConfigError, match="unknown split of .* 'tset'. Did you mean test"):
        read_karpathy(made / 'coco/annotations/dataset_coco.json', made, split='tset')


@pytest.mark.parametrize(
    ('name', 'file', 'change', 'message'),
    [
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c['annotations'][1].update(image_id=99),
            r'annotations\[1\] has the image_id 99, which is not in .*images',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            twice('images'),
            'has the id 1 of .* again',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c['images'][0].update(file_name='/etc/x.jpg'),
            'lies outside of',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c.update(annotations=c['annotations'][2:]),
            r'images\[0\] \(id 1\) has no caption',
        ),
        (
            'karpathy',
            'annotations/dataset_coco.json',
            lambda c: c['images'][1].update(sentences=[]),
            r'images\[1\] has no sentences',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c['images'][1].update(id=[1]),
            r'images\[1\] has "id" .*expected a number or a string',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: [row.pop('id') for row in c['images']] and None,
            r'images\[0\] has no "id"',
        ),
        (
            'captions',
            'annotations/captions_val2014.json',
            lambda c: c['images'][0].update(file_name='a\0.jpg'),
            r'images\[0\] names .*has a NUL character in it',
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_record_and_fix(refused, name, file, change, message):
    folder, read = READERS[name]
    refused(folder, file, change, message, read)
