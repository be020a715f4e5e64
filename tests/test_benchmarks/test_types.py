"""A benchmark hands its submission the model's name where the format has one."""

from mmllava.benchmarks.types import Benchmark, Item


def test_a_benchmark_submits_nothing_or_its_files_with_the_models_name_where_one_is_asked():
    items, answers = [Item(1)], ['a']
    assert Benchmark('x', list).files(items, answers, 'llava') == {}
    plain = Benchmark('x', list, submit=lambda *args: {'a.json': args})
    assert plain.files(items, answers, 'llava') == {'a.json': (items, answers)}
    signed = Benchmark('x', list, submit=lambda *args: {'a.json': args}, signed=True)
    assert signed.files(items, answers, 'llava') == {'a.json': (items, answers, 'llava')}
