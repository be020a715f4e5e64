"""Floor 2. LLaVA: a vision tower, a projector and a language model, wired by config."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmllava.errors import ConfigError, PromptError, unknown_name
from mmllava.models.checks import check_folder_config
from mmllava.models.lazy import LazyModel
from mmllava.models.sources import TOKENIZER_FILES, find_checkpoint, find_folder
from mmllava.models.splice import Batch, collate, splice
from mmllava.models.upstream import translate
from mmllava.models.weights import load_checkpoint
from mmllava.prompts.conversation import IMAGE_WORDS, ask, from_json
from mmllava.prompts.encode import encode
from mmllava.prompts.presets import get_preset
from mmllava.prompts.templates import get_template, render
from mmllava.registry import MODELS, TOKENIZER
from mmllava.structures import EncodedPrompt, Segment

TASKS = {'caption': 'Image Caption', 'vqa': 'Visual Question Answering'}


@MODELS.register_module()
class Llava(LazyModel):
    """LLaVA v1 and v1.5.

    Built on the meta device: the config carries every size, so that nothing is
    read and no memory is used until weights come. They come from
    ``get_model(..., pretrained=PATH)``, from ``init_cfg``, or at random when
    the model is moved to a device without any.

    Args:
        vision_encoder: config of the vision tower.
        lang_encoder: config of the language model.
        tokenizer: config of the tokenizer; read when it is first used. A
            checkpoint folder's own tokenizer comes before a hub id.
        template: name of the chat template (`mmllava.prompts.templates`).
        preset: name of question and decoding (`mmllava.prompts.presets`).
        task: ``caption`` or ``vqa``.
        prompt_tmpl: the whole prompt as text, with ``<image>`` and, for VQA,
            ``{question}``; in place of template and preset's question.
        generation_cfg: keyword arguments of transformers' ``GenerationConfig``,
            over the preset's.
        use_im_patch: add ``<im_patch>`` to the vocabulary.
        use_im_start_end: write ``<im_start><image><im_end>``.
        mm_hidden_size: channels of the tower, for comparison only with what
            the tower has.
        mm_vision_select_layer: hidden state that is read from the tower.
        mm_proj_depth: linear layers of the projector; 1 for v1, 2 for v1.5.
        dtype: ``float32``, ``float16`` or ``bfloat16``; None is float32 on CPU
            and the checkpoint's half precision on GPU.
        data_preprocessor: config of the data preprocessor.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=PATH)`` loads.

    Shapes: B samples, N patches of a picture, L tokens, D channels, V words.
    """

    def __init__(
        self,
        vision_encoder: dict,
        lang_encoder: dict,
        tokenizer: dict,
        template: str = 'vicuna_v1',
        preset: str | None = None,
        task: str = 'caption',
        prompt_tmpl: str | None = None,
        generation_cfg: dict | None = None,
        use_im_patch: bool = False,
        use_im_start_end: bool = False,
        mm_hidden_size: int | None = None,
        mm_vision_select_layer: int = -2,
        mm_proj_depth: int = 1,
        dtype: str | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        preprocessor = MODELS.build(
            dict(dict(type='mmllava.LlavaDataPreprocessor'), **(data_preprocessor or {}))
        )
        super().__init__(preprocessor, init_cfg, dtype)
        if task not in TASKS:
            raise unknown_name('task', task, TASKS)
        self.task, self.template = task, get_template(template)
        self.template_name, self.prompt_tmpl = template, prompt_tmpl
        self.preset = get_preset(preset or ('coco_short' if task == 'caption' else 'vqa_short'))
        self.generation_cfg = {**self.preset.generation, **(generation_cfg or {})}
        self.use_im_start_end = use_im_start_end
        self.extra_tokens = ('<im_patch>',) * use_im_patch + IMAGE_WORDS * use_im_start_end
        self._parts = translate(vision_encoder, lang_encoder, tokenizer)
        self._parts['vision_encoder'].setdefault('select_layer', mm_vision_select_layer)
        self._mm_hidden_size, self._mm_proj_depth = mm_hidden_size, mm_proj_depth
        self._folder: Path | None = None  # of the checkpoint, for its tokenizer
        self._tokenizer: Any = None
        self._meta: Any = None
        with torch.device('meta'):
            self._build()

    def _build(self) -> None:
        """Makes the three parts on the current device."""
        self.vision_tower = MODELS.build(self._parts['vision_encoder'])
        self.language = MODELS.build(self._parts['lang_encoder'])
        width = self.vision_tower.hidden_size
        if self._mm_hidden_size not in (None, width):
            raise ConfigError(
                f'mm_hidden_size={self._mm_hidden_size}, but the vision tower has {width} '
                'channels. Leave it out, or use the tower that it belongs to.'
            )
        self.projector = MODELS.build(
            dict(
                type='mmllava.MlpProjector',
                in_dim=width,
                out_dim=self.language.config.hidden_size,
                depth=self._mm_proj_depth,
            )
        )

    def load_weights(self, path: str | Path) -> None:
        """Loads a checkpoint: a file, a folder or a hub id. A folder's tokenizer is used then.

        Raises:
            CheckpointError: it does not fit, or cannot be read or trusted.
        """
        path = find_checkpoint(path)
        folder = path if path.is_dir() else None
        if folder:
            check_folder_config(self, folder)
        load_checkpoint(self, path, self.dtype)
        self.vision_tower.rebuild_buffers()
        self.language.rebuild_buffers()
        self._folder, self._tokenizer = folder, None

    # Text ------------------------------------------------------------------

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, read when first used.

        A local folder in the config comes first, then the checkpoint's own
        folder, then the hub id in the config.
        """
        if self._tokenizer is None:
            config = dict(self._parts['tokenizer'])
            source = config.pop('name_or_path')
            own = self._folder and (self._folder / 'tokenizer.model').is_file()
            if own and not Path(source).is_dir():
                source = self._folder
            folder = find_folder(source, TOKENIZER_FILES)
            tokenizer = TOKENIZER.build(
                dict(config, name_or_path=str(folder), extra_tokens=self.extra_tokens)
            )
            for word in self.extra_tokens:
                self._check_row(word, tokenizer.token_id(word))
            self._tokenizer = tokenizer
        return self._tokenizer

    def _check_row(self, word: str, id_: int) -> None:
        rows = self.language.config.vocab_size
        if id_ >= rows:
            raise ConfigError(
                f'the token {word} has id {id_}, but the language model has {rows} rows. Use the '
                'tokenizer of the checkpoint: its added_tokens.json names the ids.'
            )

    def encode_prompt(self, sample: BaseDataElement) -> EncodedPrompt:
        """The ids that ask for one sample's caption or answer, one picture in them.

        Raises:
            PromptError: a VQA sample without a question.
        """
        question = sample.get('question', '') or ''
        if self.task == 'vqa' and not question:
            raise PromptError(
                'task vqa needs a question, got none. Call it with image and question.'
            )
        if self.prompt_tmpl is not None:
            segments = [Segment(self.prompt_tmpl.replace('{question}', question))]
        else:
            text = question + self.preset.suffix if self.task == 'vqa' else self.preset.prompt
            segments = render(self.template, ask(text, 1, self.use_im_start_end))
        return encode(segments, self.tokenizer, num_images=1)

    def encode_conversation(self, sample: BaseDataElement) -> EncodedPrompt:
        """The ids and labels of a training sample's ``conversations``, cut to the context.

        Raises:
            PromptError: no conversation, or nothing in it to learn.
        """
        conversations = sample.get('conversations')
        if not conversations:
            raise PromptError("mode 'loss' needs data_sample.conversations, got none.")
        turns = from_json(conversations, self.template_name, self.use_im_start_end)
        return encode(render(self.template, turns), self.tokenizer, num_images=1)

    # Forward ---------------------------------------------------------------

    def forward(
        self,
        images: Tensor,
        data_samples: Sequence[BaseDataElement] | None = None,
        mode: str = 'predict',
    ) -> Any:
        """One batch.

        Args:
            images: ``(B, 3, S, S)``, normalised.
            data_samples: one for each picture; ``predict`` reads ``question``,
                ``loss`` reads ``conversations``.
            mode: ``predict`` gives the samples with ``pred_caption`` or
                ``pred_answer``; ``loss`` a dict with ``loss``; ``tensor`` the
                logits ``(B, L, V)`` of the prompts, left-padded.

        Raises:
            CheckpointError: the model has no weights yet.
        """
        modes = dict(predict=self.predict, loss=self.loss, tensor=self.logits)
        if mode not in modes:
            raise unknown_name('mode', mode, modes)
        self.check_weights()
        if data_samples is None:
            data_samples = [BaseDataElement() for _ in images]
        return modes[mode](images, data_samples)

    def extract_feat(self, images: Tensor) -> Tensor:
        """Pictures ``(P, 3, S, S)`` to rows of word-embedding space ``(P, N, D)``."""
        images = images.to(next(self.vision_tower.parameters()))
        return self.projector(self.vision_tower(images))

    def batch(self, images: Tensor, prompts: Sequence[EncodedPrompt], side: str) -> Batch:
        """Prompts with their pictures put in, padded on one side, cut to the context."""
        features = self.extract_feat(images)
        rows = [
            splice(self.language, prompt, [feature])
            for prompt, feature in zip(prompts, features, strict=True)
        ]
        end = self.language.max_tokens
        return collate([(embeds[:end], labels[:end]) for embeds, labels in rows], side)

    def logits(self, images: Tensor, data_samples: Sequence[BaseDataElement]) -> Tensor:
        """Mode ``tensor``."""
        batch = self.batch(images, [self.encode_prompt(s) for s in data_samples], 'left')
        return self.language(batch.embeds, batch.mask)

    def loss(self, images: Tensor, data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """Mode ``loss``: cross entropy of the answers, mean over their tokens."""
        batch = self.batch(images, [self.encode_conversation(s) for s in data_samples], 'right')
        return dict(loss=self.language.loss(batch.embeds, batch.mask, batch.labels))

    @torch.no_grad()
    def predict(
        self, images: Tensor, data_samples: Sequence[BaseDataElement]
    ) -> Sequence[BaseDataElement]:
        """Mode ``predict``. A sample that carries an ``error`` gets None for an answer."""
        field = 'pred_caption' if self.task == 'caption' else 'pred_answer'
        good = [k for k, sample in enumerate(data_samples) if not sample.get('error')]
        for sample in data_samples:
            sample.set_field(None, field)
        if good:
            prompts = [self.encode_prompt(data_samples[k]) for k in good]
            batch = self.batch(images[good], prompts, 'left')
            new_ids = self.language.generate(
                batch.embeds, batch.mask, self.tokenizer, self._settings(batch)
            )
            for k, ids in zip(good, new_ids, strict=True):
                data_samples[k].set_field(self.tokenizer.decode(ids).strip(), field)
        return data_samples

    def _settings(self, batch: Batch) -> dict[str, Any]:
        """Generation settings, with as many new tokens as the context has room for.

        Raises:
            PromptError: the prompt alone fills the context.
        """
        settings = dict(self.generation_cfg)
        length, context = batch.mask.shape[1], self.language.max_tokens
        if length >= context:
            raise PromptError(
                f'the prompt takes {length} tokens, pictures included, and the context is '
                f'{context}. Ask a shorter question.'
            )
        wanted = settings.get('max_new_tokens', context)
        if wanted > context - length:
            settings['max_new_tokens'] = context - length
        return settings

    # mmpretrain ------------------------------------------------------------

    @property
    def _metainfo(self) -> Any:
        """What mmpretrain's ``inference_model`` asks to choose an inferencer.

        It knows only models that were built by name; this tells it the task of
        one that was built from a config.
        """
        result = SimpleNamespace(task=TASKS[self.task])
        return self._meta or SimpleNamespace(name='llava', results=[result])

    @_metainfo.setter
    def _metainfo(self, value: Any) -> None:
        self._meta = value
