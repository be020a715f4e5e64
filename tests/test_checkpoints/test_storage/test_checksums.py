"""A file's SHA-256 is right in whatever order its pieces come."""

import hashlib
import random

import pytest

from mmllava.checkpoints.storage.checksums import FileSums, sha256_of


@pytest.mark.parametrize('seed', range(8))
def test_pieces_in_any_order_give_the_files_sum(tmp_path, seed):
    draw = random.Random(seed)
    file = tmp_path / 'x'
    data = draw.randbytes(10_000)
    file.write_bytes(data)
    sums = FileSums([file])
    for _ in range(draw.randrange(12)):  # in order, late, twice, overlapping, or not at all
        start = draw.randrange(len(data))
        stop = min(len(data), start + draw.randrange(4000))
        sums.feed(file, start, memoryview(data)[start:stop])
    assert sums.finish() == {file: hashlib.sha256(data).hexdigest()}


def test_a_part_of_a_file_has_its_own_sum(tmp_path):
    file = tmp_path / 'x'
    file.write_bytes(bytes(range(200)))
    assert sha256_of(file, 20, 100) == hashlib.sha256(bytes(range(20, 120))).hexdigest()
    assert sha256_of(file) == hashlib.sha256(bytes(range(200))).hexdigest()
