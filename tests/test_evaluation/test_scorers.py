"""BLEU, ROUGE-L and CIDEr: by hand where a hand can, and pycocoevalcap's to the ninth digit."""

import json
import math
import random
from pathlib import Path

import pytest

from mmllava.metrics.bleu import bleu
from mmllava.metrics.captions import read_captions, read_references, score_captions
from mmllava.metrics.cider import cider
from mmllava.metrics.rouge import common_length, rouge_l

ROOT = Path(__file__).parents[2]
OURS = ROOT / 'tests/golden/captions/scores.json'
SHARED = ROOT.parent / 'shared/golden/caption_metrics'


def test_corpus_and_images_are_equal_to_the_recording(tmp_path):
    content = json.loads(OURS.read_text(encoding='utf-8'))
    (tmp_path / 'preds.json').write_text(json.dumps(content['predictions']))
    scores = score_captions(read_references(OURS), read_captions(tmp_path / 'preds.json'))
    assert scores.corpus == pytest.approx(content['corpus'], abs=1e-9, rel=0)
    for name, each in content['per_image'].items():
        ours = [row[name] for row in scores.per_image.values()]
        assert ours == pytest.approx(each, abs=1e-9, rel=0), name


@pytest.mark.skipif(not SHARED.exists(), reason=f'no {SHARED.name} beside the checkout')
def test_corpus_and_images_are_equal_to_the_shared_recording():
    expected = json.loads((SHARED / 'coco_sample_expected.json').read_text(encoding='utf-8'))
    scores = score_captions(
        read_references(SHARED / 'coco_sample_gt.json'),
        read_captions(SHARED / 'coco_sample_results.json'),
    )
    assert list(scores.per_image) == expected['image_ids']
    for name, total in scores.corpus.items():
        key = 'Rouge' if name == 'ROUGE_L' else name
        assert total == pytest.approx(expected[key], abs=1e-9, rel=0), name
        ours = [row[name] for row in scores.per_image.values()]
        assert ours == pytest.approx(expected[f'per_image_{key}'], abs=1e-9, rel=0), name


def test_bleu_counts_a_word_no_more_often_than_a_reference_does():
    # 'the' is in one reference twice, in the other once: 2 of 4 words match; of the
    # bigrams 'the the' matches once (1 of 3): sqrt(2/4 * 1/3).
    total, each = bleu([['the the cat sat', 'on the mat now']], ['the the the the'])
    assert total[:2] == pytest.approx([0.5, math.sqrt(0.5 / 3)], abs=1e-8)
    assert each == [pytest.approx(total)]


def test_bleu_of_a_short_caption_is_lowered_by_the_closest_length():
    # 2 words; references of 3 and 5, the closer is 3: exp(1 - 3/2).
    total, _ = bleu([['a cat here now too', 'a cat sat']], ['a cat'])
    assert total[0] == pytest.approx(math.exp(-0.5), abs=1e-8)


def test_bleu_takes_the_shorter_of_two_equally_close_lengths():
    # 3 words; references of 4 and 2: 2 counts, so nothing is taken off.
    total, _ = bleu([['a cat sat down', 'a cat']], ['a cat sat'])
    assert total[0] == pytest.approx(1, abs=1e-8)


def test_bleu_of_the_corpus_adds_counts_before_dividing():
    # 1 of 1 and 0 of 3 words: 1/4, while the mean of the two scores is 1/2.
    total, each = bleu([['a'], ['b c d']], ['a', 'x y z'])
    assert total[0] == pytest.approx(1 / 4, abs=1e-8)
    assert [row[0] for row in each] == pytest.approx([1, 0], abs=1e-8)


def test_rouge_takes_precision_and_recall_from_different_references():
    # caption of 4; 'a b' in order of the first (2 words: recall 1, precision 2/4);
    # 3 of the second's 6 (precision 3/4, recall 3/6): P = 3/4, R = 1.
    _, each = rouge_l([['a b', 'a b c x y z']], ['a b c d'])
    p, r = 3 / 4, 1.0
    assert each == [pytest.approx((1 + 1.44) * p * r / (r + 1.44 * p))]


def test_rouge_of_an_empty_caption():
    assert rouge_l([['a b'], ['', 'a b']], ['', ''])[1] == [0, 1]


def test_common_length_is_that_of_the_table():
    rng = random.Random(0)
    for _ in range(200):
        left, right = (rng.choices('abcd', k=rng.randint(1, 70)) for _ in range(2))
        table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
        for i, one in enumerate(left):
            for j, other in enumerate(right):
                best = max(table[i][j + 1], table[i + 1][j])
                table[i + 1][j + 1] = table[i][j] + 1 if one == other else best
        assert common_length(left, right) == table[-1][-1]


def test_cider_of_one_image_is_zero():
    assert cider([['a cat']], ['a cat']) == (0, [0])


def test_cider_by_hand():
    # Two images: words of one are worth log 2, words of both nothing. Image 1: 'cat' is shared
    # and so is the bigram 'a cat': cosine 1 for n = 1 and 2; none for 3 and 4.
    # Mean over n is 2/4, times 10: 5. Image 2 shares 'a' only, worth nothing.
    total, each = cider([['a cat'], ['a dog']], ['a cat', 'a bird'])
    assert each == pytest.approx([5, 0])
    assert total == pytest.approx(2.5)


def test_cider_clips_repetition_and_lowers_for_length():
    # 'cat cat cat' against 'cat': weights 3w and w, clipped to w: w*w / (3w*w) = 1/3 for n = 1;
    # no bigram is shared. Bigrams 2 and 0: exp(-4/72). Mean over 4, times 10.
    _, each = cider([['cat'], ['dog']], ['cat cat cat', 'x'])
    assert each == pytest.approx([10 / 4 / 3 * math.exp(-4 / 72), 0])
