"""Products run on one thread while asked for, and on as many as before afterwards."""

import numpy as np

from mmllava.checkpoints.conversion.arithmetic import _functions, _libraries, one_thread


def threads():
    return [functions[0]() for functions in map(_functions, _libraries()) if functions]


def test_the_number_of_threads_is_given_back():
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    with one_thread():
        assert threads() == [1] * len(before)
    assert threads() == before


def test_numpys_own_library_is_found_where_it_has_one():
    config = np.show_config(mode='dicts')['Build Dependencies']['blas']['name']
    assert bool(threads()) == ('openblas' in config)
