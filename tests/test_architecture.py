"""The tree is the design. This file keeps it true, by reading the source and importing nothing."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'mmllava'
FILES = sorted(PACKAGE.rglob('*.py'))
OUTSIDE = sorted(
    f for folder in ('tools', 'demo', 'projects') for f in (ROOT / folder).rglob('*.py')
)
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))

FLOORS = {  # import only from a lower floor, or from your own folder
    'errors': 0,
    'io': 0,
    'structures': 0,
    'version': 0,
    'compat': 0,
    'registry': 0,
    'prompts': 1,
    'images': 1,
    'metrics': 1,
    'checkpoints': 1,
    'generation': 1,
    'teacher': 1,
    'models': 2,
    'datasets': 2,
    'training': 3,
    'benchmarks': 3,
    'apis': 4,
    'evaluation': 5,
    'integrations': 5,
    'serving': 6,
}
GROUND = ('errors', 'version')  # the rest of floor 0 may stand on these
ORDER = {  # rooms with an order of their own: a file imports from its own folder or one before it
    'checkpoints': ('storage', 'layouts', 'conversion'),
}
DOORS = {  # a heavy or optional package enters through these files only
    'mmpretrain': ['registry.py', 'apis/mmpretrain_patch.py', 'compat.py'],
    'transformers': [
        'models/language.py',
        'models/packed_attention.py',
        'models/vision_tower.py',
        'generation/',
        'prompts/tokenizer.py',
        'compat.py',
    ],
    'peft': ['training/lora.py'],
    'flash_attn': ['models/packed_attention.py'],
    'fastapi': ['serving/app.py'],
    'uvicorn': ['serving/app.py'],
    'openai': ['teacher/client.py'],
    'openpyxl': ['benchmarks/submission.py'],
    'lmms_eval': ['integrations/lmms_eval.py'],
    'vlmeval': ['integrations/vlmeval.py'],
    'gradio': [],  # demo/ only
}
# Folders and files that stay without a package.
PURE = ['structures.py', 'errors.py', 'version.py', 'io.py', 'prompts/', 'checkpoints/', 'metrics/']
WITHOUT = {
    'torch': PURE,
    'torchvision': PURE,
    'mmengine': [*PURE, 'images/', 'generation/', 'teacher/', 'compat.py'],
    'mmcv': [*PURE, 'images/', 'generation/', 'teacher/', 'compat.py'],
}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_FOLDER_FILES = 400, 60, 16


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yields (line, full dotted name) of every import, lazy, relative and by string too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split('.')
            parts = parts[: len(parts) - node.level + 1] if node.level else []
            parts += [node.module] if node.module else []
            yield from ((node.lineno, '.'.join([*parts, a.name])) for a in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, 'attr', getattr(node.func, 'id', None))
            if name in ('import_module', '__import__') and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def faults(path: str, source: str) -> list[str]:
    """What is wrong with the imports of ``path``, relative to mmllava/."""
    here, *below = path.removesuffix('.py').split('/')
    if here == '__init__' or below == ['__init__']:
        return []  # a front door may look anywhere in its own house, and below it
    package = '.'.join(['mmllava', *path.split('/')[:-1]])
    found = []
    for line, name in imports(source, package):
        top, *rest = name.split('.')
        where = f'mmllava/{path}:{line} imports {name}'
        if top == 'mmllava':
            there = rest[0] if rest else ''
            if there not in FLOORS:
                found.append(f'{where}: the front of the package; import where it is defined')
            elif there in GROUND and here not in GROUND:
                continue
            elif there != here and FLOORS[there] >= FLOORS[here]:
                found.append(f'{where}: floor {FLOORS[there]} from floor {FLOORS[here]}')
            elif there == here in ORDER:
                found += [f'{where}: {fault}' for fault in order_faults(here, below, rest[1:])]
        if top in DOORS and not path.startswith(tuple(DOORS[top])):
            found.append(f'{where}: it enters through {DOORS[top] or "no file of mmllava"}')
        if path.startswith(tuple(WITHOUT.get(top, []))):
            found.append(f'{where}: this part stays without {top}')
    return found


def order_faults(room: str, below: list[str], there: list[str]) -> Iterator[str]:
    """Yields what is wrong with an import inside a room that has an order of its own."""
    order = ORDER[room]
    if not there or there[0] not in order:
        yield 'the front of its own room; import where it is defined'
    elif order.index(there[0]) > order.index(below[0]):
        yield f'{there[0]}/ stands above {below[0]}/'


def edges(sources: dict[str, str]) -> dict[str, set[str]]:
    """file -> the files that it imports; both relative to mmllava/, front doors left out."""
    files = {path.removesuffix('.py').replace('/', '.'): path for path in sources}
    found = {}
    for path, source in sources.items():
        package = '.'.join(['mmllava', *path.split('/')[:-1]])
        names = {name.removeprefix('mmllava.') for _, name in imports(source, package)}
        names |= {name.rpartition('.')[0] for name in names}
        found[path] = {files[name] for name in names & files.keys()} - {path}
    return {path: to for path, to in found.items() if not path.endswith('__init__.py')}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Files that import one another in a circle; empty if there is none."""
    left = {path: set(to) for path, to in graph.items()}
    while left:
        free = [path for path, to in left.items() if not to & left.keys()]
        if not free:
            return sorted(left)
        for path in free:
            del left[path]
    return []


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_every_room_has_a_floor():
    assert len(FILES) > 5
    rooms = {f.relative_to(PACKAGE).parts[0].removesuffix('.py') for f in FILES}
    assert rooms <= {*FLOORS, '__init__'}


def test_every_folder_with_modules_is_a_package():
    assert not [relative(f) for f in FILES if not (f.parent / '__init__.py').is_file()]


@pytest.mark.parametrize('file', FILES, ids=relative)
def test_imports_go_down_and_heavy_packages_enter_through_their_door(file):
    assert not faults(file.relative_to(PACKAGE).as_posix(), file.read_text())


def test_no_files_import_one_another_in_a_circle():
    sources = {f.relative_to(PACKAGE).as_posix(): f.read_text() for f in FILES}
    assert not circle(edges(sources))


def test_a_planted_circle_is_found():
    sources = {
        'models/a.py': 'from mmllava.models.b import x',
        'models/b.py': 'def f():\n    from mmllava.models import c',
        'models/c.py': 'import mmllava.models.a',
        'models/d.py': 'from mmllava.models import a',
    }
    assert circle(edges(sources))[:3] == ['models/a.py', 'models/b.py', 'models/c.py']
    assert not circle(edges({**sources, 'models/c.py': 'import torch'}))


@pytest.mark.parametrize('top', ['mmllava', 'tools', 'projects'])
def test_no_folder_has_more_files_than_a_reader_keeps_in_mind(top):
    count = Counter(relative(f.parent) for f in (ROOT / top).rglob('*.py') if '.mim' not in f.parts)
    assert not {folder: n for folder, n in count.items() if n - 1 > MAX_FOLDER_FILES}


def listed(text: str) -> list[str]:
    """The files and folders that a package's docstring lists: indented, two spaces, a line each."""
    return re.findall(r'^ {4}([\w.-]+/?) {2,}\S', text, re.M)


@pytest.mark.parametrize(
    'folder', sorted({f.parent for f in FILES} - {PACKAGE}), ids=lambda f: relative(f)
)
def test_a_package_says_its_floor_and_lists_its_files(folder):
    text = ast.get_docstring(ast.parse((folder / '__init__.py').read_text()))
    floor = FLOORS[folder.relative_to(PACKAGE).parts[0]]
    assert f'Floor {floor}.' in text
    files = {f.name for f in folder.glob('*.py')} - {'__init__.py'}
    files |= {f'{f.parent.name}/' for f in folder.glob('*/__init__.py')}
    assert sorted(listed(text)) == sorted(files)


@pytest.mark.parametrize('file', CONFIGS, ids=relative)
def test_a_config_imports_nothing(file):
    assert not list(imports(file.read_text(), 'configs'))


@pytest.mark.parametrize('file', [*FILES, *OUTSIDE], ids=relative)
def test_a_file_introduces_itself_and_can_be_read_in_one_sitting(file):
    text = file.read_text()
    tree = ast.parse(text)
    introduction = ast.get_docstring(tree)
    assert introduction, f'{relative(file)} does not say what it is'
    if file.name != '__init__.py':
        assert not introduction.startswith('Floor'), 'the folder says its floor'
    assert text.count('\n') <= MAX_FILE_LINES, f'{relative(file)} is too long'
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f'{relative(file)} {node.name}: {lines} lines'
        if isinstance(node, ast.ImportFrom):
            assert node.names[0].name != '*', f'{relative(file)}:{node.lineno} star import'


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('prompts/encode.py', 'from mmllava import models'),
        ('prompts/encode.py', 'import mmllava.models.llava'),
        ('prompts/encode.py', 'def f():\n    from mmllava.models import Llava'),
        ('prompts/encode.py', 'from ..models import Llava'),
        ('prompts/encode.py', 'from .. import models'),
        ('errors.py', 'from .models import Llava'),
        ('errors.py', 'from mmllava.structures import Turn'),
        ('errors.py', 'from mmllava import version'),
        ('structures.py', 'from mmllava import registry'),
        ('images/clip.py', 'from mmllava.prompts import encode'),
        ('models/llava.py', "importlib.import_module('mmllava.apis')"),
        ('models/llava.py', 'import mmllava'),
        ('models/llava.py', 'from mmllava import __version__'),
        ('models/llava.py', 'import mmpretrain.models'),
        ('models/llava.py', 'import transformers'),
        ('prompts/encode.py', 'import transformers'),
        ('checkpoints/layouts/delta.py', 'def f():\n    import torch'),
        ('structures.py', 'import torch.nn as nn'),
        ('metrics/cider.py', 'from mmengine.evaluator import BaseMetric'),
        ('images/load.py', 'import mmcv'),
        ('training/optim.py', 'import peft'),
        ('apis/inferencers.py', 'import gradio'),
        ('datasets/base.py', "__import__('fastapi')"),
    ],
)
def test_a_planted_fault_is_found(path, source):
    assert faults(path, source)


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('prompts/encode.py', 'from mmllava.errors import PromptError'),
        ('registry.py', 'from mmllava.errors import unknown_name\nimport mmpretrain.registry'),
        ('prompts/encode.py', 'from .tokenizer import Tokens'),
        ('prompts/encode.py', 'from mmllava.prompts.tokenizer import Tokens'),
        ('prompts/tokenizer.py', 'import transformers'),
        ('benchmarks/metric.py', 'import torch, mmengine.evaluator'),
        ('models/llava.py', 'import torch\nfrom mmengine.model import BaseModel'),
        ('apis/mmpretrain_patch.py', 'import mmpretrain\nfrom mmllava.models import Llava'),
        ('serving/app.py', 'import fastapi\nfrom mmllava.apis import inferencers'),
        ('__init__.py', 'from mmllava.apis import mmpretrain_patch'),
    ],
)
def test_the_way_down_is_open(path, source):
    assert not faults(path, source)
