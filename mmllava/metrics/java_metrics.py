"""Computes METEOR and SPICE with the Java programs of pycocoevalcap.

The only door to pycocoevalcap. Nothing is written into its folder: SPICE gets a temporary
one, and its language models are never downloaded without being asked for.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mmllava.errors import ConfigError


def meteor(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[float, list[float]]:
    """Computes METEOR 1.5 (English, normalised) of tokenized captions.

    Returns:
        the corpus score, in 0..1, and the score of each image.

    Raises:
        ConfigError: pycocoevalcap or Java is missing, or the Java program failed.
    """
    _folder('METEOR')
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    try:
        return scorer.compute_score(*_as_dicts(references, captions))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f'METEOR: its Java program stopped ({error}). It needs 2 GB of memory; free '
            'some, or leave METEOR out of the metrics.'
        ) from error
    finally:
        if scorer.lock.locked():  # else its destructor waits forever
            scorer.lock.release()


def spice(
    references: Sequence[Sequence[str]], captions: Sequence[str]
) -> tuple[float, list[float]]:
    """Computes SPICE 1.0 of tokenized captions; an image without a defined F-score is NaN.

    Returns:
        the mean F-score over images, in 0..1, and the F-score of each image.

    Raises:
        ConfigError: pycocoevalcap, Java or the language models are missing, or
            the Java program failed.
    """
    folder = _folder('SPICE') / 'spice'
    models = folder / 'lib' / 'stanford-corenlp-3.6.0-models.jar'
    if not models.exists():
        raise ConfigError(
            f'SPICE needs {models.name}, which pycocoevalcap downloads on first use. With network '
            'access, run `python -c "from pycocoevalcap.spice.get_stanford_models '
            'import get_stanford_models as get; get()"` once, or leave SPICE out of the metrics.'
        )
    records = [
        dict(image_id=index, test=caption, refs=list(own))
        for index, (own, caption) in enumerate(zip(references, captions, strict=True))
    ]
    with tempfile.TemporaryDirectory() as scratch:
        source, result = Path(scratch, 'in.json'), Path(scratch, 'out.json')
        source.write_text(json.dumps(records))
        jar = str(folder / 'spice-1.0.jar')
        command = ['java', '-jar', '-Xmx8G', jar, str(source), '-cache', scratch]
        command += ['-out', str(result), '-subset', '-silent']
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not result.exists():
            raise ConfigError(
                f'SPICE: its Java program ended with status {done.returncode}: '
                f'{done.stderr.strip()[-300:]} Leave SPICE out of the metrics to go on.'
            )
        scores = {
            record['image_id']: record['scores']['All']['f']
            for record in json.loads(result.read_text())
        }
    per_image = [
        float('nan') if scores[i] is None else float(scores[i]) for i in range(len(records))
    ]
    return sum(per_image) / len(per_image), per_image


def _folder(scorer: str) -> Path:
    """Returns the folder of pycocoevalcap; refuses where it or Java is missing."""
    spec = find_spec('pycocoevalcap')
    if spec is None:
        raise ConfigError(
            f'{scorer} needs pycocoevalcap, which is not installed. Run `pip install '
            f'pycocoevalcap`, or leave {scorer} out of the metrics.'
        )
    if shutil.which('java') is None:
        raise ConfigError(
            f'{scorer} runs in Java, and no `java` is on the PATH. Install a Java runtime '
            f'(8 or newer), or leave {scorer} out of the metrics.'
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _as_dicts(references: Sequence[Sequence[str]], captions: Sequence[str]) -> tuple[dict, dict]:
    """Builds the two dicts that pycocoevalcap's scorers take."""
    by_index = {index: list(texts) for index, texts in enumerate(references)}
    return by_index, {index: [caption] for index, caption in enumerate(captions)}
