"""Files are read with reasons and written whole or not at all."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from mmllava import io
from mmllava.errors import CheckpointError, DataError
from tests.conftest import ROOT


def written(folder, content, name='file.json'):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"a": 1', 'is not JSON'),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice in one object"),
        ('{"a": NaN}', 'NaN is no JSON number'),
        ('{"a": -Infinity}', '-Infinity is no JSON number'),
        ('[' * 100_000, 'nested too deep'),
        ('{"a": ' * 100_000, 'nested too deep'),
        ('{"a": ' + '1' * 5000 + '}', 'is not JSON'),
        (r'{"a": "\ud83d"}', 'half of a surrogate pair'),
        (r'{"a": "\ude00 and"}', 'half of a surrogate pair'),
        ('[1]', 'holds a list, expected an object in JSON'),
        ('true', 'holds true or false, expected an object'),
        ('', 'is not JSON'),
        (b'\xff\xfe{\x00}\x00', 'is not text in UTF-8'),
        (b'\x80\x81', 'is not text in UTF-8'),
    ],
)
def test_a_file_that_is_not_the_json_expected_is_named_with_the_reason(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=message) as refused:
        io.read_json(path)
    assert str(path) in str(refused.value)


def test_true_is_no_number(tmp_path):
    with pytest.raises(DataError, match='holds true or false, expected a number'):
        io.read_json(written(tmp_path, 'true'), int)


def test_a_byte_order_mark_is_dropped_and_a_whole_surrogate_pair_is_a_character(tmp_path):
    path = written(tmp_path, b'\xef\xbb\xbf' + rb'{"a": "\ud83d\ude00"}')
    assert io.read_json(path) == {'a': '\U0001f600'}
    assert io.parse_json(path.read_bytes(), path) == {'a': '\U0001f600'}


def test_a_backslash_before_ud83d_is_no_surrogate(tmp_path):
    assert io.parse_json(r'"\\ud83d"', 'here') == r'\ud83d'


def test_a_missing_file_and_a_path_with_a_nul_say_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r'cannot read .*no\.json: No such file.*a config'):
        io.read_json(tmp_path / 'no.json', expected='a config', error=CheckpointError)
    with pytest.raises(DataError, match='a text file'):
        io.read_text('a\0b')


def test_nan_is_accepted_in_logs_only():
    assert str(io.parse_json('NaN', 'log', strict=False)) == 'nan'
    assert io.parse_json('"\\ud800"', 'log', strict=False) == '\ud800'


def test_json_lines_skip_blank_lines_and_keep_line_separators_in_strings(tmp_path):
    path = written(tmp_path, '{"a": "x\u2028y"}\n\n  \n{"b": 2}')
    assert list(io.read_json_lines(path)) == [
        (f'{path}: line 1', {'a': 'x\u2028y'}),
        (f'{path}: line 4', {'b': 2}),
    ]
    with pytest.raises(DataError, match='line 2 holds a list, expected an object'):
        list(io.read_json_lines(written(tmp_path, '{}\n[]\n')))


def test_what_is_written_can_be_read_again_lone_surrogates_included(tmp_path):
    io.write_json(tmp_path / 'a/b.json', {'x': 'é\ud800'})
    assert json.loads((tmp_path / 'a/b.json').read_bytes())['x'] == 'é\ud800'
    io.write_json_lines(tmp_path / 'c.jsonl', [{'x': 'é'}, {'y': None}])
    assert (tmp_path / 'c.jsonl').read_bytes() == '{"x": "é"}\n{"y": null}\n'.encode()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = written(tmp_path, 'old')
    with pytest.raises(RuntimeError), io.atomic_path(path) as part:
        part.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['file.json']


def test_the_checksum_is_that_of_the_whole_file(tmp_path):
    content = os.urandom((1 << 20) + 17)
    path = written(tmp_path, content)
    assert io.sha256_of(path) == hashlib.sha256(content).hexdigest()


def test_the_commit_of_a_tree_tells_whether_it_was_changed(tmp_path):
    def git(*arguments):
        identity = ('-c', 'user.name=a', '-c', 'user.email=a@b')
        command = ['git', '-C', str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert io.git_commit(tmp_path) is None
    git('init', '-q')
    path = written(tmp_path, 'one')
    git('add', '.')
    git('commit', '-qm', 'one')
    head = git('rev-parse', 'HEAD')
    assert io.git_commit(tmp_path) == head
    path.write_text('two')
    assert io.git_commit(tmp_path) == head + '+'
    (tmp_path / 'inside').mkdir()
    assert io.git_commit(tmp_path / 'inside') is None


@pytest.mark.parametrize('name', ['a.jpg', 'b/../a.jpg', 'link/a.jpg', '...jpg', './a.jpg'])
def test_a_path_below_its_folder_is_joined_to_it_links_followed(tmp_path, name):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/link').symlink_to(tmp_path)
    folder = str(tmp_path / 'images')
    assert io.resolve_below(folder, name, 'record 3') == os.path.join(folder, name)
    assert io.resolve_below('', 'a.jpg', 'record 3') == 'a.jpg'


@pytest.mark.parametrize('name', ['../a.jpg', 'b/../../a.jpg', '/etc/passwd', '../imagesets/a.jpg'])
def test_a_path_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match=r'record 3 names .*, which lies outside of .*images'):
        io.resolve_below(tmp_path / 'images', name, 'record 3', CheckpointError)
    with pytest.raises(DataError, match='has a NUL character in it'):
        io.resolve_below(tmp_path, f'a{chr(0)}', 'record 3')


def test_provenance_says_commit_versions_and_machine():
    row = io.provenance('pytest', 'no-such-package', root=ROOT)
    assert list(row) == ['commit', 'python', 'pytest', 'no-such-package', 'machine', 'cpus']
    assert row['commit'] == io.git_commit(ROOT) and row['pytest'] == pytest.__version__
    assert row['no-such-package'] is None and row['cpus'] >= 1
    assert sys.version.startswith(row['python'])
