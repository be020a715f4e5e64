"""Turns a sample into token ids and labels, and new ids into an answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.structures import BaseDataElement

from mmllava.checkpoints.storage.hub import TOKENIZER_FILES, fetch
from mmllava.errors import ConfigError, PromptError, unknown_name
from mmllava.prompts.conversation import ask, from_json, from_patches
from mmllava.prompts.encode import encode
from mmllava.prompts.labels import encode_training
from mmllava.prompts.presets import get_preset
from mmllava.prompts.render import render
from mmllava.prompts.templates import get_template
from mmllava.registry import TOKENIZER
from mmllava.structures import IGNORE_INDEX, IMAGE_TOKENS, EncodedPrompt, Segment, Turn

TASKS = {'caption': 'Image Caption', 'vqa': 'Visual Question Answering'}


class PromptBuilder:
    """The text side of a `mmllava.models.Llava`, without weights; it can be pickled.

    Args:
        tokenizer: config of the tokenizer, with ``name_or_path``.
        vocab_size: of the token embedding.
        num_patches: patches of one image; v0 wrote as many ``<im_patch>``.
        template: name of the chat template (`mmllava.prompts.templates`).
        preset: name of question and decoding settings (`mmllava.prompts.presets`).
        task: ``caption`` or ``vqa``.
        prompt_tmpl: the whole prompt as text; see `mmllava.models.Llava`.
        use_im_patch: add ``<im_patch>`` to the vocabulary.
        use_im_start_end: write ``<im_start><image><im_end>``.

    Raises:
        ConfigError: an unknown task, template or preset.
    """

    def __init__(
        self,
        tokenizer: Mapping[str, Any],
        vocab_size: int,
        num_patches: int,
        template: str = 'vicuna_v1',
        preset: str | None = None,
        task: str = 'caption',
        prompt_tmpl: str | None = None,
        use_im_patch: bool = False,
        use_im_start_end: bool = False,
    ) -> None:
        if task not in TASKS:
            raise unknown_name('task', task, TASKS)
        self.task, self.template_name, self.template = task, template, get_template(template)
        self.preset = get_preset(preset or ('coco_short' if task == 'caption' else 'vqa_short'))
        self.prompt_tmpl, self.use_im_start_end = prompt_tmpl, use_im_start_end
        self.extra_tokens = ('<im_patch>',) * use_im_patch + IMAGE_TOKENS * use_im_start_end
        self.vocab_size, self.num_patches = vocab_size, num_patches
        self.tokenizer_folder: Path | None = None  # set when the tokenizer is read
        self._config, self._checkpoint, self._tokenizer = dict(tokenizer), None, None

    def use_checkpoint(self, folder: Path | None) -> None:
        """Sets the checkpoint to read the tokenizer from.

        Args:
            folder: of the checkpoint; None if the checkpoint is a single file.
        """
        self._checkpoint, self._tokenizer = folder, None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, read on first use.

        A local folder in the config has priority, then the checkpoint's own folder, then the
        hub id in the config.

        Raises:
            ConfigError: one of ``extra_tokens`` is beyond the vocabulary.
            CheckpointError: it cannot be downloaded.
        """
        if self._tokenizer is None:
            self._tokenizer, self.tokenizer_folder = self._read_tokenizer()
        return self._tokenizer

    def _read_tokenizer(self) -> tuple[Any, Path]:
        """Builds the tokenizer; returns it with the folder that it was read from."""
        config = dict(self._config)
        source = config.pop('name_or_path')
        own = self._checkpoint and (self._checkpoint / 'tokenizer.model').is_file()
        if own and not Path(source).is_dir():
            source = self._checkpoint
        folder = fetch(source, TOKENIZER_FILES)
        extra = self.extra_tokens
        tokenizer = TOKENIZER.build(dict(config, name_or_path=str(folder), extra_tokens=extra))
        for token in extra:
            if tokenizer.token_id(token) >= self.vocab_size:
                raise ConfigError(
                    f'the token {token} has id {tokenizer.token_id(token)}, but the language model '
                    f'embeds {self.vocab_size} tokens. Use the tokenizer of the checkpoint: its '
                    'added_tokens.json names the ids.'
                )
        return tokenizer, folder

    def encode_prompt(self, sample: BaseDataElement, num_images: int = 1) -> EncodedPrompt:
        """Encodes the prompt for one sample's caption or answer.

        A question may place its images itself, with ``<image>`` tags.

        Raises:
            PromptError: a VQA sample without a question, or tags and images that differ in
                number.
        """
        question = sample.get('question') or ''
        if self.task == 'vqa' and not question:
            raise PromptError(
                'task vqa needs a question, got none. Call it with image and question.'
            )
        if self.prompt_tmpl is not None:
            text = self.prompt_tmpl.replace('{question}', question)
            segments = [Segment(self._sentinels(text))]
        else:
            text = question + self.preset.suffix if self.task == 'vqa' else self.preset.prompt
            segments = render(self.template, self.ask(text, num_images))
        begun = Segment(sample.get('begun') or '')  # of the answer
        return encode([*segments, begun], self.tokenizer, num_images)

    def ask(self, question: str, num_images: int) -> list[Turn]:
        """Builds the turns of a question with its images, the answer left open."""
        question = self._sentinels(question)
        return ask(question, num_images, self.use_im_start_end, self.template.mmtag)

    def _sentinels(self, text: str) -> str:
        """Replaces v0's ``<im_patch>`` runs by ``<image>``; for later models they are text."""
        v0 = self.use_im_start_end or self.tokenizer.find('<im_patch>') is not None
        return from_patches(text, self.num_patches) if v0 else text

    def encode_conversation(self, sample: BaseDataElement, num_images: int = 1) -> EncodedPrompt:
        """Encodes a training sample's ``conversations``, with labels.

        A sample with a field ``encoded`` has been encoded in a dataset's worker
        (`mmllava.models.SampleEncoder`); that prompt is returned.

        Raises:
            PromptError: no conversation, or nothing in it to learn.
        """
        if 'encoded' in sample:
            return sample.encoded
        conversations = sample.get('conversations')
        if not conversations:
            raise PromptError("mode 'loss' needs data_sample.conversations, got none.")
        several = num_images > 1
        turns = from_json(conversations, self.template_name, self.use_im_start_end, several)
        prompt = encode_training(self.template, turns, self.tokenizer, num_images)
        if all(label == IGNORE_INDEX for label in prompt.labels):
            raise PromptError('the conversation has no answer, so there is nothing to learn.')
        return prompt

    def decode_answer(self, ids: Sequence[int]) -> str:
        """Decodes generated ids up to the template's end mark; strips white space."""
        text = self.tokenizer.decode(ids)
        return (text.split(self.template.stop)[0] if self.template.stop else text).strip()
