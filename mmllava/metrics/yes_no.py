"""Reads yes-or-no answers and counts them, as POPE's and MME's scripts do."""

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
    """Reads an answer: ``no`` if the first sentence has the word No, no or not, else ``yes``.

    Only spaces separate words, and commas are removed. So an answer with neither is yes.

    Source: ``eval_pope.py`` of LLaVA 1.2.2.
    """
    words = text.split('.')[0].replace(',', '').split(' ')
    return 'no' if {'No', 'not', 'no'} & set(words) else 'yes'


def count_yes(answers: Sequence[str], truths: Sequence[str]) -> dict[str, float]:
    """Computes accuracy, precision, recall, F1 and the share of yes, the positive class.

    All in percent; 0/0 is 0.
    """
    pairs = list(zip(answers, truths, strict=True))
    true_positives, false_positives = pairs.count(('yes', 'yes')), pairs.count(('yes', 'no'))
    predicted = true_positives + false_positives
    actual = true_positives + pairs.count(('no', 'yes'))
    precision = true_positives / predicted if predicted else 0.0
    recall = true_positives / actual if actual else 0.0
    total = precision + recall
    scores = {
        'accuracy': sum(a == b for a, b in pairs) / len(pairs),
        'precision': precision,
        'recall': recall,
        'F1': 2 * precision * recall / total if total else 0.0,
        'yes_ratio': predicted / len(pairs),
    }
    return {name: 100 * score for name, score in scores.items()}


def mme_answer(text: str) -> str:
    """Reads an answer: ``yes``, ``no`` or ``other``, by its first four characters.

    Source: ``calculation.py`` of MME's evaluation tool.
    """
    start = text.lower()[:4]
    return 'yes' if 'yes' in start else 'no' if 'no' in start else 'other'


def mme_totals(correct: Mapping[str, Sequence[Sequence[bool]]]) -> dict[str, float]:
    """Computes MME's scores: each task 0..200, perception 0..2000, cognition 0..800.

    A task's score is the percentage of correct answers plus that of images with both correct.
    A total exists if all of its tasks do.

    Args:
        correct: task -> for each image, whether each of its two answers is correct.
    """
    scores = {}
    for task, images in correct.items():
        answers = [answer for image in images for answer in image]
        both = sum(all(image) for image in images) / len(images)
        scores[task] = 100 * (sum(answers) / len(answers) + both)
    totals = {
        name: sum(scores[task] for task in tasks)
        for name, tasks in (('perception', PERCEPTION), ('cognition', COGNITION))
        if set(tasks) <= set(scores)
    }
    return {**totals, **scores}
