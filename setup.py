"""How mmllava is packed.

mmpretrain's `mim` looks for `configs/`, `tools/` and `model-index.yml` in
`mmllava/.mim`. They are copied there while a wheel is built, never into the
source tree; an editable install has no `.mim`, and the code falls back to the
repository.
"""

import ast
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIM = ('configs', 'tools', 'model-index.yml')


def version() -> str:
    """Reads ``__version__`` without importing the package: its requirements may not be there."""
    for node in ast.parse((ROOT / 'mmllava/version.py').read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '__version__':
            return ast.literal_eval(node.value)
    raise SystemExit('setup.py: mmllava/version.py has no line `__version__ = ...`.')


class BuildWithMim(build_py):
    """Copies the files of ``MIM`` beside the built modules."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'mmllava/.mim'
        shutil.rmtree(target, ignore_errors=True)  # an older build may hold deleted files
        target.mkdir(parents=True)
        for name in MIM:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source, target / name, ignore=shutil.ignore_patterns('__pycache__', '*.pyc')
                )
            else:
                shutil.copy2(source, target / name)


readme = ROOT / 'README.md'

setup(
    name='mmllava',
    version=version(),
    description='LLaVA for OpenMMLab: an mmpretrain-style plugin',
    long_description=readme.read_text(encoding='utf-8') if readme.is_file() else '',
    long_description_content_type='text/markdown',
    author='mmllava contributors',
    license='Apache-2.0',
    packages=find_packages(include=['mmllava', 'mmllava.*']),
    package_data={'mmllava': ['py.typed', 'teacher/prompt_files/*/*.txt', 'assets/*/*']},
    zip_safe=False,
    cmdclass={'build_py': BuildWithMim},
    python_requires='>=3.10',
    install_requires=[
        'numpy',
        'pillow>=10.1',  # the first whose default font has a size
        'protobuf',  # transformers reads tokenizer.model with it and does not ask for it
        'pycocotools',  # mmpretrain hides every multimodal model without it
        'safetensors',
        'sentencepiece',
        'torch>=2.6',  # the first whose torch.load refuses pickled code unless told otherwise
        'torchvision',  # mmpretrain imports it and does not ask for it
        'tqdm',
        'transformers>=4.57,<6',  # tested: 4.57.6 and 5.23.0
    ],
    # lmms-eval finds the model `mmllava` by itself where both are installed.
    entry_points={'lmms_eval.models': ['mmllava = mmllava.integrations.lmms_eval:manifest']},
    extras_require={
        # mmengine, mmcv and mmpretrain, as maintained. An extra, since the original
        # packages have the same import names under other package names: if these
        # were required, installing mmllava would overwrite the files of the originals.
        # Their own [multimodal] extra is not asked for: it forbids transformers 5.
        'mm': ['onedl-mmcv>=2.3', 'onedl-mmengine>=0.10.8', 'onedl-mmpretrain>=1.3'],
        'quantize': ['bitsandbytes>=0.46'],  # bits=4 and bits=8, on a GPU
        'lora': ['peft'],
        'device-map': ['accelerate'],  # a model over several GPUs and CPU
        'teacher': ['openai>=1.55.3'],  # a stronger language model over HTTP; the oldest tried
        'mmbench': ['openpyxl'],  # the table that MMBench's server takes
        'java-metrics': ['pycocoevalcap'],
        # Not among the constraints: it pins a wandb that holds protobuf back for all.
        'lmms-eval': ['lmms-eval>=0.7'],
        # Without bitsandbytes: mmengine imports it wherever it is, which takes seconds.
        'test': [
            *('accelerate', 'hypothesis', 'openai', 'openpyxl', 'peft'),
            *('pytest', 'pytest-xdist', 'ruff'),
        ],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
    ],
)
