"""Answers that are yes or no: POPE and MME, read and counted as each of them does."""

from collections.abc import Mapping, Sequence

PERCEPTION = ('existence', 'count', 'position', 'color', 'posters')
PERCEPTION += ('celebrity', 'scene', 'landmark', 'artwork', 'OCR')
COGNITION = (
    'commonsense_reasoning',
    'numerical_calculation',
    'text_translation',
    'code_reasoning',
)


def pope_answer(text: str) -> str:
    """``no`` if the first sentence has the word No, no or not, else ``yes``.

    Only spaces part words, and commas are taken out. So an answer that says neither is yes.

    Source: ``eval_pope.py`` of LLaVA 1.2.2.
    """
    words = text.split('.')[0].replace(',', '').split(' ')
    return 'no' if {'No', 'not', 'no'} & set(words) else 'yes'


def count_yes(answers: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Accuracy, precision, recall, F1 and the share of yes, in percent; yes is what is sought.

    A ratio of nothing by nothing is 0.
    """
    pairs = list(zip(answers, truths, strict=True))
    hits, misses = pairs.count(('yes', 'yes')), pairs.count(('no', 'yes'))
    false = pairs.count(('yes', 'no'))
    precision = hits / (hits + false) if hits + false else 0.0
    recall = hits / (hits + misses) if hits + misses else 0.0
    total = precision + recall
    scores = {
        'accuracy': sum(a == b for a, b in pairs) / len(pairs),
        'precision': precision,
        'recall': recall,
        'F1': 2 * precision * recall / total if total else 0.0,
        'yes_ratio': (hits + false) / len(pairs),
    }
    return {name: 100 * score for name, score in scores.items()}


def mme_answer(text: str) -> str:
    """``yes``, ``no`` or ``other``: what the first four letters hold.

    Source: ``calculation.py`` of MME's evaluation tool.
    """
    start = text.lower()[:4]
    return 'yes' if 'yes' in start else 'no' if 'no' in start else 'other'


def mme_totals(right: Mapping[str, Sequence[Sequence[bool]]]) -> dict[str, float]:
    """MME's scores: of each task 0..200, of perception 0..2000 and cognition 0..800.

    A task's score is the percentage of right answers plus that of pictures with both right.
    A total is there if all of its tasks are.

    Args:
        right: task -> for each picture, whether each of its two answers is right.
    """
    scores = {}
    for task, pictures in right.items():
        answers = [answer for picture in pictures for answer in picture]
        both = sum(all(picture) for picture in pictures) / len(pictures)
        scores[task] = 100 * (sum(answers) / len(answers) + both)
    totals = {
        name: sum(scores[task] for task in tasks)
        for name, tasks in (('perception', PERCEPTION), ('cognition', COGNITION))
        if set(tasks) <= set(scores)
    }
    return {**totals, **scores}
