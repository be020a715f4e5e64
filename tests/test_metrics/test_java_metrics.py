"""METEOR and SPICE: what is missing is named, nothing is downloaded unasked."""

import shutil
from importlib.util import find_spec

import pytest

from mmllava.metrics import java_metrics
from mmllava.metrics.captions import score_captions

REFERENCES = {1: ['a cat sits', 'one cat'], 2: ['a dog runs'], 'x7': ['two birds fly']}
CAPTIONS = {1: 'a cat sits', 2: 'a dog'}
needs_java = pytest.mark.skipif(
    find_spec('pycocoevalcap') is None or shutil.which('java') is None,
    reason='pycocoevalcap or Java is missing',
)


@pytest.mark.parametrize('metric', ['METEOR', 'SPICE'])
def test_without_pycocoevalcap_the_message_says_what_to_install(monkeypatch, metric):
    monkeypatch.setattr(java_metrics, 'find_spec', lambda name: None)
    scores = score_captions(REFERENCES, CAPTIONS, ['CIDEr', metric])
    assert 'CIDEr' in scores.corpus
    assert f'{metric} needs pycocoevalcap, which is not installed' in scores.failed[metric]


@pytest.mark.skipif(find_spec('pycocoevalcap') is None, reason='pycocoevalcap is missing')
def test_without_java_the_message_says_so(monkeypatch):
    monkeypatch.setattr(java_metrics.shutil, 'which', lambda name: None)
    scores = score_captions(REFERENCES, CAPTIONS, ['METEOR', 'CIDEr'])
    assert 'CIDEr' in scores.corpus
    assert 'METEOR runs in Java, and no `java` is on the PATH' in scores.failed['METEOR']


@needs_java
def test_spice_never_downloads_by_itself():
    models = list(java_metrics._folder('SPICE').glob('spice/lib/stanford-corenlp-*-models.jar'))
    if models:
        pytest.skip('the models of SPICE are here')
    failed = score_captions(REFERENCES, CAPTIONS, ['SPICE']).failed
    assert 'SPICE needs stanford-corenlp-3.6.0-models.jar' in failed['SPICE']


@needs_java
@pytest.mark.slow
def test_meteor_of_the_reference_itself_is_the_highest():
    scores = score_captions(REFERENCES, {1: 'a cat sits', 2: 'zebra'}, ['METEOR'])
    assert scores.failed == {}
    assert scores.per_image[1]['METEOR'] == pytest.approx(1, abs=0.01)
    assert scores.per_image[2]['METEOR'] == 0
