"""A finished run as it lies on disk, and what tells two runs apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmllava.errors import DataError

CARD, SAMPLES = 'run.json', 'samples.jsonl'
ANSWERS = ('pred_caption', 'pred_answer')


@dataclass(frozen=True)
class Run:
    """A card, and its samples by id, in the set's order."""

    folder: Path
    card: dict[str, Any]
    samples: dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs, A and B.

    Args:
        protocol: (field, value in A, value in B), of what decides an answer or a score.
        environment: the same of machine and versions.
        scores: name -> (A, B), where they differ; None where a run lacks it.
        only: ids that one run has and the other lacks, of A and of B.
        shared: how many samples both have.
        changed: (id, sample of A, sample of B) where the answers differ.
        moved: name of a sample's score -> how many are higher, and lower, in B.
    """

    protocol: list[tuple[str, Any, Any]]
    environment: list[tuple[str, Any, Any]]
    scores: dict[str, tuple[float | None, float | None]]
    only: tuple[list[Any], list[Any]]
    shared: int
    changed: list[tuple[Any, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    moved: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether protocol, scores and every answer are the same."""
        return not (self.protocol or self.scores or any(self.only) or self.changed)


def read_card(folder: str | Path) -> dict[str, Any]:
    """The protocol card of a run's folder.

    Raises:
        DataError: there is none, or it is none.
    """
    file = Path(folder) / CARD
    try:
        card = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataError(
            f'{folder} has no {CARD}. Name the work folder of a run of tools/test.py.'
        ) from error
    except ValueError as error:
        raise DataError(f'{file} is not JSON: {error}. Score the run again.') from error
    if not isinstance(card, dict) or not isinstance(card.get('protocol'), dict):
        raise DataError(f'{file} has no protocol, so it is no card. Score the run again.')
    return card


def read_run(folder: str | Path) -> Run:
    """A run that has been scored.

    Raises:
        DataError: it has not, or a file of it is damaged.
    """
    folder = Path(folder)
    card, file = read_card(folder), folder / SAMPLES
    if not file.is_file() or not isinstance(card.get('scores'), dict):
        raise DataError(
            f'the run in {folder} has not ended: it has no scores yet. Give its command again, '
            'it goes on from where it is.'
        )
    samples: dict[Any, dict[str, Any]] = {}
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            sample = json.loads(line)
            key = sample['id']
            doubled = key in samples
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f'line {number} of {file} is no sample ({error}). Give the command of the run '
                'again to write it anew.'
            ) from error
        if doubled:
            raise DataError(f'line {number} of {file} is a second sample {key!r}.')
        samples[key] = sample
    return Run(folder, card, samples)


def answer_of(sample: Mapping[str, Any]) -> str | None:
    """What the model said; None where it failed."""
    return next((sample[name] for name in ANSWERS if sample.get(name) is not None), None)


def compare(a: Run, b: Run) -> Comparison:
    """What differs between two runs: protocol, scores, and the answer of each sample."""
    fields = [{name: run.card.get(name) for name in ('protocol', 'scoring')} for run in (a, b)]
    last = [(run.card.get('environments') or [{}])[-1] for run in (a, b)]
    scores = [run.card['scores'] for run in (a, b)]
    names = [*scores[0], *(name for name in scores[1] if name not in scores[0])]
    pairs = [(key, a.samples[key], b.samples[key]) for key in a.samples if key in b.samples]
    return Comparison(
        protocol=differences(*fields),
        environment=differences(*last),
        scores={
            name: (scores[0].get(name), scores[1].get(name))
            for name in names
            if scores[0].get(name) != scores[1].get(name)
        },
        only=(
            [key for key in a.samples if key not in b.samples],
            [key for key in b.samples if key not in a.samples],
        ),
        shared=len(pairs),
        changed=[pair for pair in pairs if answer_of(pair[1]) != answer_of(pair[2])],
        moved=_moved(pairs),
    )


def _moved(pairs: Sequence[tuple[Any, Mapping[str, Any], Mapping[str, Any]]]) -> dict:
    """Name -> (higher, lower) in the second, of the scores that any sample changed in."""
    counts: dict[str, list[int]] = {}
    for _, first, second in pairs:
        before, after = first.get('scores') or {}, second.get('scores') or {}
        for name in before:
            if name in after and before[name] != after[name]:
                counts.setdefault(name, [0, 0])[after[name] < before[name]] += 1
    return {name: (higher, lower) for name, (higher, lower) in counts.items()}


def differences(a: Any, b: Any, name: str = '') -> list[tuple[str, Any, Any]]:
    """(dotted name, value in a, value in b) of the values in which two trees differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found = []
        for key in [*a, *(key for key in b if key not in a)]:
            found += differences(a.get(key), b.get(key), f'{name}.{key}' if name else str(key))
        return found
    return [] if a == b else [(name, a, b)]
