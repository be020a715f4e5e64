"""A sample's own score is shown where the score is the mean of them, and nowhere else."""

from mmllava.benchmarks.details import explain
from mmllava.benchmarks.item import Benchmark, Item

ITEMS = [Item(1, truth='yes'), Item(2, truth=['a', 'b']), Item(3, truth=dict(x=1))]
ANSWERS = ['yes', 'b', None]


def accuracy(items, answers):
    right = [a is not None and a in i.truth for i, a in zip(items, answers, strict=True)]
    return dict(accuracy=100 * sum(right) / len(right), other=1.0)


def spread(items, answers):
    return dict(spread=float(len({*answers})))


def run(score, **settings):
    benchmark = Benchmark('a set', read=list, score=score, **settings)
    return explain(benchmark, ITEMS, ANSWERS, score(ITEMS, ANSWERS) if score else {})


def test_each_sample_has_its_part_of_a_mean_and_its_reference():
    assert run(accuracy) == [
        dict(reference='yes', accuracy=100.0),
        dict(reference=['a', 'b'], accuracy=100.0),
        dict(accuracy=0.0),
    ]


def test_a_score_that_is_no_mean_is_no_ones_part():
    references = [dict(reference='yes'), dict(reference=['a', 'b']), {}]
    assert run(spread) == references
    assert run(accuracy, caption=True) == references
    assert run(None) == references


def test_a_scorer_that_takes_no_item_alone_gives_no_parts():
    def pairs(items, answers):
        first, second, _ = answers
        return dict(pairs=float(first == second))

    assert run(pairs) == [dict(reference='yes'), dict(reference=['a', 'b']), {}]
