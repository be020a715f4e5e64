"""A file's headers are believed only where they can be true; nothing in it is run."""

import json
import pickle
import shutil
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmllava.checkpoints import map_tensor, read_entries
from mmllava.checkpoints.storage.reader import read_json
from mmllava.errors import CheckpointError
from tests.test_checkpoints.conftest import GOLDEN

KINDS = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def some_tensors():
    """Every dtype, a single number, an empty one, and a shape of ones."""
    torch.manual_seed(0)
    made = {str(k): (torch.randn(3, 5) * 4).to(k) for k in KINDS}
    return made | {
        'number': torch.tensor(2.5),
        'empty': torch.zeros(0, 4),
        'ones': torch.randn(1, 7, 1),
    }


def as_torch(entry):
    found = torch.from_numpy(map_tensor(entry))
    return found.view(torch.bfloat16) if entry.dtype == 'bfloat16' else found


def assert_same(entries, expected):
    assert set(entries) == set(expected)
    for name, tensor in expected.items():
        found = as_torch(entries[name])
        assert found.dtype == tensor.dtype and found.shape == tensor.shape, name
        assert torch.equal(found, tensor), name


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('name', ['m.bin', 'm.pth', 'm.safetensors', 'safetensors.of-no-suffix'])
def test_every_kind_of_tensor_is_read_as_torch_reads_it(tmp_path, name):
    tensors = some_tensors()
    (save_file if 'safetensors' in name else torch.save)(tensors, tmp_path / name)
    assert_same(read_entries(tmp_path / name), tensors)


@pytest.mark.parametrize('name', ['llama-base', 'llava-v1-delta', 'llava-v1.6', 'clip-tiny'])
def test_the_recorded_checkpoints_are_read_as_torch_reads_them(name):
    expected = {}
    for file in (GOLDEN / name).iterdir():
        if file.suffix == '.bin':
            expected.update(torch.load(file, weights_only=True))
        if file.suffix == '.safetensors':
            expected.update(load_file(file))
    assert_same(read_entries(GOLDEN / name), expected)


def test_tied_sliced_and_wrapped_tensors_of_a_torch_file_are_found(tmp_path):
    whole = torch.arange(12.0)
    tensors = OrderedDict(
        a=whole, tied=whole, part=whole[4:8].view(2, 2), parameter=torch.nn.Parameter(whole + 1)
    )
    torch.save({'state_dict': tensors, 'meta': {'epoch': 3, 'names': ['x']}}, tmp_path / 'm.pth')
    entries = read_entries(tmp_path / 'm.pth')
    assert_same(entries, {k: v.detach() for k, v in tensors.items()})
    assert entries['a'].offset == entries['tied'].offset


def test_the_state_dict_of_a_module_with_its_version_is_read(tmp_path):
    module = torch.nn.Linear(2, 3)
    torch.save(module.state_dict(), tmp_path / 'm.bin')
    assert_same(read_entries(tmp_path / 'm.bin'), {k: v for k, v in module.state_dict().items()})


def test_a_mapped_tensor_can_be_changed_without_changing_the_file(tmp_path):
    save_file({'a': torch.zeros(4)}, tmp_path / 'm.safetensors')
    before = (tmp_path / 'm.safetensors').read_bytes()
    array = map_tensor(read_entries(tmp_path / 'm.safetensors')['a'])
    array += 1
    assert (tmp_path / 'm.safetensors').read_bytes() == before


def test_two_mappings_of_one_tensor_do_not_see_each_other(tmp_path):
    save_file({'a': torch.zeros(4)}, tmp_path / 'm.safetensors')
    entry = read_entries(tmp_path / 'm.safetensors')['a']
    one, other = map_tensor(entry), map_tensor(entry)
    one += 1
    assert other.tolist() == [0, 0, 0, 0]


# --- what a folder holds ---------------------------------------------------------------


def test_other_files_beside_the_weights_are_not_read(pair):
    for name in ('training_args.bin', 'optimizer.pt', 'mm_projector.bin'):
        (pair.delta / name).write_bytes(b'not a weight file')
    assert len(read_entries(pair.delta)) == 23


def test_safetensors_is_read_where_a_folder_has_both(tmp_path):
    torch.save({'a': torch.zeros(1)}, tmp_path / 'pytorch_model.bin')
    save_file({'a': torch.ones(1)}, tmp_path / 'model.safetensors')
    assert read_entries(tmp_path)['a'].file.name == 'model.safetensors'


def test_shards_that_are_links_to_blobs_are_read(pair, tmp_path):
    blobs = tmp_path / 'blobs'
    blobs.mkdir()
    for k, file in enumerate(sorted(pair.base.glob('*.bin'))):
        shutil.move(file, blobs / str(k))
        file.symlink_to(blobs / str(k))
    assert len(read_entries(pair.base)) == 22


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'nowhere does not exist; expected'):
        read_entries(tmp_path / 'nowhere')


def test_a_folder_without_weights_says_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r'has no weights: expected model.safetensors'):
        read_entries(tmp_path)


def test_shards_without_an_index_are_told(pair):
    (pair.base / 'pytorch_model.bin.index.json').unlink()
    with pytest.raises(CheckpointError, match=r'has pytorch_model-00001-of-00002.bin but no index'):
        read_entries(pair.base)


def test_a_folder_in_the_place_of_an_index_is_none(pair):
    (pair.base / 'pytorch_model.bin.index.json').unlink()
    (pair.base / 'pytorch_model.bin.index.json').mkdir()
    with pytest.raises(CheckpointError, match=r'has pytorch_model-00001-of-00002.bin but no index'):
        read_entries(pair.base)


def test_a_missing_shard_is_named(pair):
    (pair.base / 'pytorch_model-00002-of-00002.bin').unlink()
    with pytest.raises(CheckpointError, match=r'lacks pytorch_model-00002-of-00002.bin: 1 of the'):
        read_entries(pair.base)


@pytest.mark.parametrize(
    'shard', ['../base/x.bin', '/etc/passwd', 'a\\b.bin', '..', '', 7, 'x' * 999]
)
def test_an_index_that_points_outside_its_folder_is_refused(pair, shard):
    index = pair.base / 'pytorch_model.bin.index.json'
    index.write_text(json.dumps({'weight_map': {'a': shard}}))
    with pytest.raises(CheckpointError, match=r'places a in .*expected the plain name of a file'):
        read_entries(pair.base)


def test_an_index_and_shards_that_disagree_are_refused(pair):
    index = pair.base / 'pytorch_model.bin.index.json'
    said = json.loads(index.read_text())
    shard = said['weight_map'].pop('model.norm.weight')
    index.write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match=r'does not place there: 1 tensors \(model.norm'):
        read_entries(pair.base)
    said['weight_map'] |= {'model.norm.weight': shard, 'model.more': shard}
    index.write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match=r'lacks what .* 1 tensors \(model.more\)'):
        read_entries(pair.base)


@pytest.mark.parametrize('text', ['{"weight_map": {"a": "x", "a": "y"}}', '[]', '{', '{}'])
def test_an_index_that_is_none_is_refused(pair, text):
    (pair.base / 'pytorch_model.bin.index.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'index.json (is not|holds|has no)'):
        read_entries(pair.base)


# --- damaged files ---------------------------------------------------------------------


@pytest.mark.parametrize('name', ['m.safetensors', 'm.bin'])
@pytest.mark.parametrize('share', [0.0, 0.001, 0.3, 0.7, 0.999])
def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path, name, share):
    file = tmp_path / name
    (save_file if name == 'm.safetensors' else torch.save)({'a': torch.randn(300, 9)}, file)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r'cut short|is empty|bytes found|begins with'):
        read_entries(file)


def safetensors_of(length, data=bytes(8)):
    """A file of one tensor whose header, padded by spaces, has ``length`` bytes."""
    return safetensors_with(json.dumps({'a': field(0, 8)}).encode().ljust(length), data)


NAMES = ('m.safetensors', 'm.bin', 'm.pth', 'of-no-suffix')
AS_A_ZIP = int.from_bytes(b'PK\x03\x04', 'little')  # a header of 67 MB


@pytest.mark.parametrize('first', range(256))
def test_a_safetensors_file_is_read_whatever_byte_its_header_length_begins_with(tmp_path, first):
    for high, name in enumerate(NAMES, start=2):  # 0x80, 2 to 5: as a pickle begins
        file = tmp_path / name
        file.write_bytes(safetensors_of(256 * high + first))
        assert list(read_entries(file)) == ['a'], (first, high)


@pytest.mark.parametrize('name', NAMES)
def test_a_safetensors_file_is_read_whose_header_length_begins_as_a_zip_file_does(tmp_path, name):
    (tmp_path / name).write_bytes(safetensors_of(AS_A_ZIP))
    assert list(read_entries(tmp_path / name)) == ['a']


@pytest.mark.parametrize('index', ['model.safetensors', 'pytorch_model.bin'])
def test_shards_are_read_by_what_they_hold_and_not_by_their_names(tmp_path, index):
    weight_map = {}
    for k, name in enumerate(NAMES):
        text = json.dumps({f't{k}': field(0, 8)}).encode().ljust(0x580)
        (tmp_path / name).write_bytes(safetensors_with(text, bytes(8)))
        weight_map[f't{k}'] = name
    torch.save({'u': torch.ones(2)}, tmp_path / 'zip.safetensors')
    weight_map['u'] = 'zip.safetensors'
    (tmp_path / f'{index}.index.json').write_text(json.dumps({'weight_map': weight_map}))
    assert list(read_entries(tmp_path)) == list(weight_map)


@pytest.mark.parametrize('length', [1408, 0x280, 0x380, 0x480, AS_A_ZIP])
@pytest.mark.parametrize('kept', [2, 5, 8, 9, 300, -9, -1])
def test_a_cut_safetensors_file_is_called_cut_whatever_its_length_looks_like(
    tmp_path, length, kept
):
    whole = safetensors_of(length)
    file = tmp_path / 'm.safetensors'
    file.write_bytes(whole[:kept])
    with pytest.raises(CheckpointError, match=r'is cut short') as caught:
        read_entries(file)
    assert 'pickle' not in str(caught.value)


@pytest.mark.parametrize('protocol', range(2, 6))
@pytest.mark.parametrize('name', NAMES)
def test_a_pickle_of_any_protocol_is_told_under_any_name(tmp_path, protocol, name):
    (tmp_path / name).write_bytes(pickle.dumps({'a': list(range(400))}, protocol))
    with pytest.raises(CheckpointError, match=r'is a bare pickle'):
        read_entries(tmp_path / name)


def test_a_cut_safetensors_file_says_how_many_bytes_are_missing(tmp_path):
    file = tmp_path / 'm.safetensors'
    save_file({'a': torch.zeros(1000)}, file)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=rf'cut short: {size - 100:,} bytes .*{size:,} exp'):
        read_entries(file)


@pytest.mark.parametrize('name', ['m.safetensors', 'm.bin', 'config.json'])
def test_a_git_lfs_pointer_is_recognised(tmp_path, name):
    file = tmp_path / name
    file.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9976578928\n')
    with pytest.raises(CheckpointError, match=r'Git-LFS pointer, not the file of 9,976,578,928'):
        read_json(file) if name == 'config.json' else read_entries(file)


def safetensors_with(header, data=b''):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + data


def field(begin, end, shape=(2,), dtype='F32'):
    return {'dtype': dtype, 'shape': list(shape), 'data_offsets': [begin, end]}


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        ((2**63).to_bytes(8, 'little') + b'{}', r'its first eight say that the header alone'),
        (safetensors_with(b'{"a": '), r'header cannot be read'),
        (safetensors_with(b'[1, 2]'), r'the header is no table'),
        (safetensors_with(b' {"a": 1}'), r'the header is no table'),
        (safetensors_with({'a': field(0, 8, dtype=['F32'])}, bytes(8)), r'expected a dtype, a'),
        (safetensors_with({'a': field(0, 4) | {'shape': ''}}, bytes(4)), r'expected a dtype, a'),
        (safetensors_with(b'{"a": 1, "a": 2}'), r"'a' is there twice"),
        (safetensors_with({'a': {'dtype': 'F32'}}), r'expected a dtype, a shape'),
        (safetensors_with({'a': field(-8, 0)}), r'expected a dtype, a shape'),
        (safetensors_with({'a': field(0, 8, [-2])}), r'expected a dtype, a shape'),
        (safetensors_with({'a': field(0, 8, [True, 2])}), r'expected a dtype, a shape'),
        (safetensors_with({'a': field(0, 4)}, bytes(4)), r'has 4 bytes, but F32 of shape \[2\] n'),
        (safetensors_with({'a': field(0, 8, dtype='F4')}, bytes(8)), r'is of type F4; known'),
        (safetensors_with({'a': field(0, 80, [20])}, bytes(8)), r'is cut short'),
        (safetensors_with({'a': field(0, 8)}, bytes(9)), r'has bytes that no tensor owns'),
        (safetensors_with({'a': field(0, 8), 'b': field(4, 12)}, bytes(12)), r'b overlaps'),
        (safetensors_with({'a': field(0, 8), 'b': field(9, 17)}, bytes(17)), r'b leaves a hole'),
    ],
)
def test_a_safetensors_header_that_cannot_be_true_is_refused(tmp_path, data, message):
    (tmp_path / 'm.safetensors').write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        read_entries(tmp_path / 'm.safetensors')


# --- PyTorch files ---------------------------------------------------------------------


class Payload:
    """Pickled, it creates a file when a reader runs it."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), 'w')


def test_code_in_a_pickle_is_named_and_not_run(tmp_path):
    torch.save({'a': torch.zeros(2), 'b': Payload(tmp_path / 'ran')}, tmp_path / 'evil.bin')
    with pytest.raises(CheckpointError, match=r'evil.bin names io.open: code .* nothing was run'):
        read_entries(tmp_path / 'evil.bin')
    assert not (tmp_path / 'ran').exists()
    torch.load(tmp_path / 'evil.bin', weights_only=False)  # the payload is a working one
    assert (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'name', ['builtins.eval', 'os.system', 'torch.load', 'torch._utils._rebuild_qtensor',
             'collections.Counter', 'torch.storage._load_from_bytes', 'torch._tensor.Tensor'],
)  # fmt: skip
def test_any_other_name_in_a_pickle_is_refused(tmp_path, name):
    module, _, attribute = name.rpartition('.')
    write_zip(tmp_path / 'm.pth', b'\x80\x02c' + f'{module}\n{attribute}\n'.encode() + b')R.')
    with pytest.raises(CheckpointError, match=f'names {name}: code'):
        read_entries(tmp_path / 'm.pth')


def write_zip(file, data, compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(file, 'w', compression) as archive:
        archive.writestr('archive/data.pkl', data)
        for name, content in members.items():
            archive.writestr(f'archive/{name}', content)


def test_a_pickle_cannot_reach_into_the_reader(tmp_path):
    # BUILD (b) sets attributes on whatever lies on the stack: here, on the stand-ins.
    for target in (b'ctorch._utils\n_rebuild_tensor_v2\n', b'ccollections\nOrderedDict\n'):
        state = pickle.dumps((None, {'__call__': 1, 'items': 2}), protocol=2)[2:-1]
        write_zip(tmp_path / 'm.pth', b'\x80\x02' + target + state + b'b.')
        with pytest.raises(CheckpointError, match=r'cannot be read|holds one'):
            read_entries(tmp_path / 'm.pth')
    torch.save(OrderedDict(a=torch.ones(2)), tmp_path / 'good.pth')
    assert_same(read_entries(tmp_path / 'good.pth'), {'a': torch.ones(2)})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(storage='data/9'), r'storage of a is missing'),
        (dict(content=bytes(4)), r'has 4 bytes; 8 bytes expected'),
        (dict(first=1), r'ends at value 3 of a storage that has 2'),
        (dict(stride=2), r'strides \(2,\) for shape \(2,\)'),
        (dict(first=-1), r'cannot be read'),
        (dict(count=2.5), r'cannot be read'),
    ],
)
def test_a_torch_file_that_cannot_be_true_is_refused(tmp_path, change, message):
    part = lambda value: pickle.dumps(value, protocol=2)[2:-1]  # noqa: E731
    storage = b'(' + part('storage') + b'ctorch\nFloatStorage\n' + part('0') + part('cpu')
    storage += part(change.get('count', 2)) + b'tQ'
    tensor = b'ctorch._utils\n_rebuild_tensor_v2\n(' + storage + part(change.get('first', 0))
    tensor += part((2,)) + part((change.get('stride', 1),)) + b'\x89}tR'
    members = {change.get('storage', 'data/0'): change.get('content', bytes(8))}
    write_zip(tmp_path / 'm.bin', b'\x80\x02}' + part('a') + tensor + b's.', **members)
    with pytest.raises(CheckpointError, match=message):
        read_entries(tmp_path / 'm.bin')


def test_random_damage_never_gives_another_error(tmp_path):
    torch.save({'a': torch.randn(4)}, tmp_path / 'm.bin')
    data, random = (tmp_path / 'm.bin').read_bytes(), np.random.default_rng(0)
    for _ in range(400):
        spoiled = bytearray(data)
        for at in random.integers(0, len(data), 3):
            spoiled[at] = random.integers(256)
        (tmp_path / 'm.bin').write_bytes(spoiled)
        try:
            for entry in read_entries(tmp_path / 'm.bin').values():
                map_tensor(entry)
        except CheckpointError:
            pass


def test_a_compressed_torch_file_is_refused(tmp_path):
    write_zip(tmp_path / 'm.pth', b'\x80\x02}.', zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r'data.pkl is compressed'):
        read_entries(tmp_path / 'm.pth')


def test_a_transposed_tensor_is_refused_with_a_way_out(tmp_path):
    torch.save({'a': torch.zeros(2, 3).t()}, tmp_path / 'm.pth')
    with pytest.raises(CheckpointError, match=r'a has strides \(1, 3\).*Call .contiguous\(\)'):
        read_entries(tmp_path / 'm.pth')


def test_a_file_from_before_torch_1_6_is_refused(tmp_path):
    torch.save({'a': torch.zeros(2)}, tmp_path / 'm.bin', _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r'bare pickle: PyTorch wrote these before 1.6'):
        read_entries(tmp_path / 'm.bin')


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / 'm.bin')
    with pytest.raises(CheckpointError, match=r'holds one list, expected a dict'):
        read_entries(tmp_path / 'm.bin')
    torch.save({'a': torch.zeros(2), 'step': 3}, tmp_path / 'm.bin')
    with pytest.raises(CheckpointError, match=r"'step' is a int, expected a tensor"):
        read_entries(tmp_path / 'm.bin')


def test_a_file_of_no_known_format_is_refused(tmp_path):
    (tmp_path / 'm.bin').write_text('<!DOCTYPE html>')
    with pytest.raises(CheckpointError, match=r"begins with b'<!DOCTYP': neither"):
        read_entries(tmp_path / 'm.bin')
