"""The name of a model -> a local folder. The only place that knows the hub."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from mmllava.errors import CheckpointError

SAFETENSORS = ('model.safetensors', 'model-*.safetensors', 'model.safetensors.index.json')
TORCH = ('pytorch_model.bin', 'pytorch_model-*.bin', 'pytorch_model.bin.index.json')
# Of a repository that has no model: a LoRA or a projector.
TRAINED = (
    'adapter_config.json',
    'adapter_model.safetensors',
    'adapter_model.bin',
    'non_lora_trainables.bin',
    'mm_projector.bin',
)
TOKENIZER_FILES = (
    'tokenizer.model',
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'added_tokens.json',
)
SIDECARS = (
    'config.json',
    'generation_config.json',
    'preprocessor_config.json',
    *TOKENIZER_FILES,
)
_HUB_ID = re.compile(r'[A-Za-z0-9][\w.-]*/[\w.-]+')


def is_hub_id(source: str) -> bool:
    """Tells whether a name has the form ``org/name``."""
    return _HUB_ID.fullmatch(source) is not None


def is_local(source: str | Path) -> bool:
    """Tells whether a name is a file or folder here; those win over the hub."""
    return Path(source).expanduser().exists()


def fetch(source: str | Path, patterns: Sequence[str] | None = None) -> Path:
    """Finds a model's files: a local file or folder as it is, a hub id downloaded.

    Args:
        source: path or hub id.
        patterns: which files of a hub model; None means weights (safetensors where
            it has them, else PyTorch's), configs and tokenizer files. They go into
            the hub's usual cache.

    Raises:
        CheckpointError: if it is neither, or the hub does not give it.
    """
    if is_local(source):
        return Path(source).expanduser()
    source = str(source)
    if not is_hub_id(source):
        raise CheckpointError(
            f'{source} does not exist, and it is not of the form org/name of a hub model. '
            'Check the path.'
        )
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(
            f'there is no folder {source} here, and fetching it from the hub needs '
            'huggingface_hub. Run `pip install huggingface_hub`, or name a local folder.'
        ) from error
    try:
        return _download(huggingface_hub, source, patterns)
    except Exception as error:  # the hub's client raises errors of several HTTP libraries
        kind = type(error).__name__
        advice = {
            'GatedRepoError': 'Accept its licence on the hub and log in (`hf auth login`)',
            'RepositoryNotFoundError': 'Check the spelling, or log in if it is private',
        }.get(kind, 'Check the network')
        first = (str(error).strip().splitlines() or ['no reason given'])[0]
        raise CheckpointError(
            f'there is no folder {source} here, and the hub did not give it: {kind}: '
            f'{first[:200]}. {advice}, or download it elsewhere and name its folder.'
        ) from error


def _download(hub: ModuleType, source: str, patterns: Sequence[str] | None) -> Path:
    """Lists the model to choose one format; without a network the cache has to do."""
    if patterns is not None:
        return Path(hub.snapshot_download(source, allow_patterns=list(patterns)))
    try:
        files = hub.list_repo_files(source)
    except Exception as error:  # offline is many errors; a refusal by the hub is two
        if type(error).__name__ in ('GatedRepoError', 'RepositoryNotFoundError'):
            raise
        patterns = [*SAFETENSORS, *TORCH, *TRAINED, *SIDECARS]
        return Path(hub.snapshot_download(source, allow_patterns=patterns, local_files_only=True))
    has_safetensors = any(f in files for f in (SAFETENSORS[0], SAFETENSORS[2]))
    has_torch = any(f in files for f in (TORCH[0], TORCH[2]))
    weights = SAFETENSORS if has_safetensors else TORCH if has_torch else TRAINED
    patterns = [*weights, *SIDECARS]
    return Path(hub.snapshot_download(source, allow_patterns=patterns))
