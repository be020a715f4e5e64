"""What an installation gets: ranges, pins that fit them, and the files that mim looks for."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from setuptools.config.pyprojecttoml import read_configuration

ROOT = Path(__file__).parents[1]
LOCKS = ['constraints.txt', 'constraints-transformers4.txt']
UNPINNED = {'lmms-eval'}  # extras that the constraints leave alone; pyproject.toml says why
PYTHONS = ['3.10', '3.11', '3.12']


@pytest.fixture(scope='module')
def project() -> dict:
    """pyproject.toml as setuptools reads it."""
    return read_configuration(ROOT / 'pyproject.toml', expand=True)


def pins(lock: str, python: str) -> dict[str, str]:
    """name -> version that a constraints file gives a Linux machine with this Python."""
    machine = {
        **default_environment(),
        'python_version': python,
        'python_full_version': f'{python}.9',
        'sys_platform': 'linux',
        'platform_system': 'Linux',
        'platform_machine': 'x86_64',
    }
    found = {}
    for line in (ROOT / lock).read_text().splitlines():
        if not line.strip() or line.startswith('#'):
            continue
        pin = Requirement(line)
        if pin.marker and not pin.marker.evaluate(machine):
            continue
        assert pin.name not in found, f'{lock} pins {pin.name} twice for Python {python}'
        (only,) = pin.specifier
        assert only.operator == '==', f'{lock}: {line} is not a pin'
        found[pin.name] = only.version
    return found


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('lock', LOCKS)
def test_torch_and_torchvision_are_the_known_pair(lock, python):
    found = pins(lock, python)
    assert (found['torch'], found['torchvision']) == ('2.11.0', '0.26.0')


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('lock', LOCKS)
def test_every_range_of_the_project_admits_its_pin(project, lock, python):
    found = pins(lock, python)
    ranges = [*project['project']['dependencies']]
    for name, extra in project['project']['optional-dependencies'].items():
        ranges += extra if name not in UNPINNED else []
    for wanted in map(Requirement, ranges):
        assert wanted.specifier.contains(found[wanted.name]), f'{wanted} against {lock}'


def test_the_two_locks_are_the_two_transformers_we_support():
    assert pins('constraints-transformers4.txt', '3.11')['transformers'] == '4.57.6'
    for python in PYTHONS:
        assert pins('constraints.txt', python)['transformers'].startswith('5.')


@pytest.mark.parametrize(
    'file', [*LOCKS, 'Makefile', 'setup.py', 'pyproject.toml', 'tools/dev/make_env.py', '.ci/run']
)
def test_no_file_of_the_set_up_holds_a_host_or_a_path_of_one_machine(file):
    text = (ROOT / file).read_text()
    assert not re.search(r'https?://|--hash|find-links|/home/|/tmp/|/root/', text)


def test_the_openmmlab_packages_are_not_forced_on_those_who_have_the_originals(project):
    assert not [r for r in project['project']['dependencies'] if 'mm' in Requirement(r).name]
    names = {Requirement(r).name for r in project['project']['optional-dependencies']['mm']}
    assert names == {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain'}


def test_the_version_is_that_of_the_package(project):
    version = runpy.run_path(str(ROOT / 'mmllava/version.py'))['__version__']
    assert project['project']['version'] == version


def test_every_package_is_packed(project):
    folders = {f.parent for f in (ROOT / 'mmllava').rglob('*.py')}
    assert set(project['tool']['setuptools']['packages']) == {
        f.relative_to(ROOT).as_posix().replace('/', '.') for f in folders
    }


def test_a_build_holds_what_mim_looks_for_and_leaves_the_source_tree_clean(tmp_path):
    tree = tmp_path / 'tree'
    skip = shutil.ignore_patterns('__pycache__', 'golden')
    for name in ('mmllava', 'configs', 'tools'):
        shutil.copytree(ROOT / name, tree / name, ignore=skip)
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, tree)
    (tree / 'tools/__pycache__').mkdir()
    (tree / 'tools/__pycache__/train.cpython-311.pyc').touch()
    before = sorted(tree.rglob('*'))

    built = tmp_path / 'built'
    stale = built / 'mmllava/.mim/configs/deleted.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    subprocess.run(
        [sys.executable, '-B', 'setup.py', '-q', 'build_py', '--build-lib', str(built)],
        cwd=tree,
        check=True,
        timeout=120,
    )

    packed = built / 'mmllava/.mim'
    for name in ('configs', 'tools'):
        want = {f.relative_to(ROOT) for f in (ROOT / name).rglob('*') if f.is_file()}
        want = {f for f in want if '__pycache__' not in f.parts}
        assert {f.relative_to(packed) for f in (packed / name).rglob('*') if f.is_file()} == want
    assert (packed / 'model-index.yml').read_bytes() == (ROOT / 'model-index.yml').read_bytes()
    assert (built / 'mmllava/py.typed').is_file()
    weights = ROOT / 'mmllava/assets/llava-tiny'
    packed = built / 'mmllava/assets/llava-tiny'
    assert {f.name for f in packed.iterdir()} == {f.name for f in weights.iterdir()}
    left = {f for f in tree.rglob('*') if 'mmllava.egg-info' not in f.parts}  # git ignores it
    assert sorted(left) == before
