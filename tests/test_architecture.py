"""The tree is the design. This file keeps it true, by reading the source and importing nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'mmllava'
FILES = sorted(PACKAGE.rglob('*.py'))
OUTSIDE = sorted(f for folder in ('tools', 'demo', '.ci') for f in (ROOT / folder).rglob('*.py'))
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))

FLOORS = {  # import only from a lower floor, or from your own folder
    'registry': 0,
    'structures': 0,
    'errors': 0,
    'version': 0,
    'compat': 0,
    'prompts': 1,
    'images': 1,
    'evaluation': 1,
    'checkpoints': 1,
    'teacher': 1,
    'models': 2,
    'datasets': 2,
    'training': 3,
    'benchmarks': 3,
    'generation': 3,
    'tiny': 3,
    'apis': 4,
    'serving': 5,
}
GROUND = ('errors', 'version')  # the rest of floor 0 may stand on these
DOORS = {  # a heavy or optional package enters through these files only
    'mmpretrain': ['registry.py', 'apis/mmpretrain_patch.py', 'compat.py'],
    'transformers': [
        'models/language.py',
        'models/packed_attention.py',
        'generation/config.py',
        'models/vision_tower.py',
        'prompts/tokenizer.py',
        'compat.py',
    ],
    'peft': ['training/lora.py'],
    'flash_attn': ['models/packed_attention.py'],
    'fastapi': ['serving/server.py'],
    'uvicorn': ['serving/server.py'],
    'openai': ['teacher/client.py'],
    'openpyxl': ['benchmarks/submission.py'],
    'lmms_eval': ['integrations/lmms_eval.py'],
    'vlmeval': ['integrations/vlmeval.py'],
    'gradio': [],  # demo/ only
}
# Folders and files that stay without a package, but for the files named beside it.
PURE = ['structures.py', 'errors.py', 'version.py', 'prompts/', 'checkpoints/', 'evaluation/']
WITHOUT = {
    'torch': (PURE, ['benchmarks/coco_caption_metric.py']),
    'torchvision': (PURE, ['benchmarks/coco_caption_metric.py']),
    'mmengine': (
        [*PURE, 'images/', 'teacher/', 'compat.py'],
        ['benchmarks/coco_caption_metric.py'],
    ),
    'mmcv': ([*PURE, 'images/', 'teacher/', 'compat.py'], []),
}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60


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
    here = path.split('/')[0].removesuffix('.py')
    if here == '__init__':
        return []  # the front door may look anywhere
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
        if top in DOORS and path not in DOORS[top]:
            found.append(f'{where}: it enters through {DOORS[top] or "no file of mmllava"}')
        places, exceptions = WITHOUT.get(top, ([], []))
        if path.startswith(tuple(places)) and path not in exceptions:
            found.append(f'{where}: this part stays without {top}')
    return found


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


@pytest.mark.parametrize('file', CONFIGS, ids=relative)
def test_a_config_imports_nothing(file):
    assert not list(imports(file.read_text(), 'configs'))


@pytest.mark.parametrize('file', [*FILES, *OUTSIDE], ids=relative)
def test_a_file_introduces_itself_and_can_be_read_in_one_sitting(file):
    text = file.read_text()
    tree = ast.parse(text)
    introduction = ast.get_docstring(tree)
    assert introduction, f'{relative(file)} does not say what it is'
    room = file.relative_to(ROOT).parts[1].removesuffix('.py')
    if PACKAGE in file.parents and room != '__init__':
        assert introduction.startswith(f'Floor {FLOORS[room]}. '), relative(file)
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
        ('prompts/encode.py', 'from .tokens import Tokens'),
        ('prompts/encode.py', 'from mmllava.prompts.tokenizer import Tokens'),
        ('prompts/tokenizer.py', 'import transformers'),
        ('benchmarks/coco_caption_metric.py', 'import torch, mmengine.evaluator'),
        ('models/llava.py', 'import torch\nfrom mmengine.model import BaseModel'),
        ('apis/mmpretrain_patch.py', 'import mmpretrain\nfrom mmllava.models import Llava'),
        ('serving/server.py', 'import fastapi\nfrom mmllava.apis import inference'),
        ('__init__.py', 'from mmllava.apis import hub'),
    ],
)
def test_the_way_down_is_open(path, source):
    assert not faults(path, source)
