"""The tokenizer of a model: from its config, its checkpoint's folder, or the hub."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmllava.checkpoints.storage.hub import fetch
from mmllava.errors import ConfigError
from mmllava.models.hf_config import TOKENIZER_FILES
from mmllava.registry import TOKENIZER


def read_tokenizer(
    config: Mapping[str, Any], folder: Path | None, extra_tokens: Sequence[str], rows: int
) -> tuple[Any, Path]:
    """Builds the tokenizer.

    A local folder in the config comes first, then the checkpoint's own folder,
    then the hub id in the config.

    Args:
        config: of the tokenizer, with ``name_or_path``.
        folder: of the checkpoint; None if it is a file.
        extra_tokens: words that the model needs beside the tokenizer's own.
        rows: of the word embedding.

    Returns:
        the tokenizer, and the folder that it was read from.

    Raises:
        ConfigError: one of ``extra_tokens`` has no row.
        CheckpointError: the hub did not give it.
    """
    config = dict(config)
    source = config.pop('name_or_path')
    own = folder and (folder / 'tokenizer.model').is_file()
    if own and not Path(source).is_dir():
        source = folder
    found = fetch(source, TOKENIZER_FILES)
    tokenizer = TOKENIZER.build(dict(config, name_or_path=str(found), extra_tokens=extra_tokens))
    for word in extra_tokens:
        if tokenizer.token_id(word) >= rows:
            raise ConfigError(
                f'the token {word} has id {tokenizer.token_id(word)}, but the language model has '
                f'{rows} rows. Use the tokenizer of the checkpoint: its added_tokens.json names '
                'the ids.'
            )
    return tokenizer, found
