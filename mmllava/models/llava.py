"""LLaVA: a vision tower, a projector and a language model, wired by config."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmllava.errors import ConfigError, PromptError, unknown_name
from mmllava.models.checks import check_folder_config
from mmllava.models.hf_config import find_checkpoint
from mmllava.models.image_inputs import Images, flatten_images, original_sizes
from mmllava.models.meta_init import LazyModel
from mmllava.models.mmpretrain_configs import translate
from mmllava.models.splice import Batch, collate, splice
from mmllava.models.tiles import merge_tiles
from mmllava.models.tokenizer import read_tokenizer
from mmllava.models.weights import load_checkpoint
from mmllava.prompts.conversation import IMAGE_WORDS, ask, from_json, from_patches
from mmllava.prompts.encode import encode
from mmllava.prompts.labels import encode_training
from mmllava.prompts.presets import get_preset, override
from mmllava.prompts.render import render
from mmllava.prompts.templates import get_template
from mmllava.registry import MODELS
from mmllava.structures import IGNORE_INDEX, EncodedPrompt, Segment, Turn

Samples = Sequence[BaseDataElement]
TASKS = {'caption': 'Image Caption', 'vqa': 'Visual Question Answering'}


@MODELS.register_module()
class Llava(LazyModel):
    """LLaVA v0 to v1.6.

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
        mm_proj_depth: linear layers of the projector; 1 for v1, 2 from v1.5 on.
        mm_patch_merge_type: how the tiles of a picture become one row:
            ``flat``, ``spatial`` or (v1.6) ``spatial_unpad``.
        image_grid_pinpoints: v1.6: the resolutions that the pipeline cuts tiles
            with, (width, height) each.
        max_tokens: rows to learn from are cut to so many tokens, pictures included;
            None is the language model's context. LLaVA trained with 2048.
        pack: in training, a batch is one row without padding, its samples kept apart.
        dtype: ``float32``, ``float16`` or ``bfloat16``; None is float32 on CPU
            and the checkpoint's half precision on GPU.
        bits: 4 or 8: the language model's blocks in so many bits, on a GPU, by
            bitsandbytes.
        data_preprocessor: config of the data preprocessor.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=PATH)`` loads.

    Shapes: B samples, N patches of a picture, L tokens, D channels, V words.
    """

    #: what accelerate keeps on one device: these blocks add their input to their output
    _no_split_modules = ('LlamaDecoderLayer', 'MistralDecoderLayer', 'CLIPEncoderLayer')

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
        mm_patch_merge_type: str = 'flat',
        image_grid_pinpoints: Sequence[tuple[int, int]] | None = None,
        max_tokens: int | None = None,
        pack: bool = False,
        dtype: str | None = None,
        bits: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            known = set(inspect.signature(Llava).parameters) - {'unknown'}
            raise unknown_name('setting of Llava', name, known)
        preprocessor = MODELS.build(
            dict(dict(type='mmllava.LlavaDataPreprocessor'), **(data_preprocessor or {}))
        )
        super().__init__(preprocessor, init_cfg, dtype, bits)
        if task not in TASKS:
            raise unknown_name('task', task, TASKS)
        self.task, self.template = task, get_template(template)
        self.template_name, self.prompt_tmpl = template, prompt_tmpl
        self.preset = get_preset(preset or ('coco_short' if task == 'caption' else 'vqa_short'))
        self.generation_cfg = override(self.preset.generation, generation_cfg or {})
        self.use_im_start_end = use_im_start_end
        self.extra_tokens = ('<im_patch>',) * use_im_patch + IMAGE_WORDS * use_im_start_end
        self._parts = translate(vision_encoder, lang_encoder, tokenizer)
        self._parts['vision_encoder'].setdefault('select_layer', mm_vision_select_layer)
        self._mm_hidden_size, self._mm_proj_depth = mm_hidden_size, mm_proj_depth
        self.mm_patch_merge_type = mm_patch_merge_type
        self.image_grid_pinpoints = [tuple(p) for p in image_grid_pinpoints or ()]
        self.max_tokens, self.pack = max_tokens, pack
        self._folder: Path | None = None  # of the checkpoint, for its tokenizer
        self._tokenizer: Any = None
        self.tokenizer_folder: Path | None = None  # known once the tokenizer is read
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
        self.image_newline = None
        if self.mm_patch_merge_type == 'spatial_unpad':
            hidden = self.language.config.hidden_size
            self.image_newline = nn.Parameter(torch.randn(hidden) / hidden**0.5)

    def load_weights(self, path: str | Path, begins: bool = False) -> None:
        """Loads a checkpoint: a file, a folder or a hub id. A folder's tokenizer is used then.

        With ``begins`` it is where training begins: it may know nothing of v1.6's tiles.

        Raises:
            CheckpointError: it does not fit, or cannot be read or trusted.
        """
        path = find_checkpoint(path)
        folder = path if path.is_dir() else None
        if folder:
            check_folder_config(self, folder, begins)
        load_checkpoint(self, path, self.dtype, begins)
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
            self._tokenizer, self.tokenizer_folder = read_tokenizer(
                self._parts['tokenizer'],
                self._folder,
                self.extra_tokens,
                self.language.config.vocab_size,
            )
        return self._tokenizer

    def encode_prompt(self, sample: BaseDataElement, num_images: int = 1) -> EncodedPrompt:
        """The ids that ask for one sample's caption or answer, its pictures in them.

        A question may say itself where its pictures belong, with ``<image>``.

        Raises:
            PromptError: a VQA sample without a question, or another number of
                tags than of pictures.
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
        """A question and its pictures as this model's template takes them; the answer open."""
        question = self._sentinels(question)
        return ask(question, num_images, self.use_im_start_end, self.template.mmtag)

    def _sentinels(self, text: str) -> str:
        """v0's pictures as ``<image>``; to later models ``<im_patch>`` is text like other."""
        v0 = self.use_im_start_end or self.tokenizer.find('<im_patch>') is not None
        return from_patches(text, self.vision_tower.num_patches) if v0 else text

    def encode_conversation(self, sample: BaseDataElement, num_images: int = 1) -> EncodedPrompt:
        """The ids and labels of a training sample's ``conversations``.

        Raises:
            PromptError: no conversation, or nothing in it to learn.
        """
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
        """The text of new ids up to the template's end mark, stripped."""
        text = self.tokenizer.decode(ids)
        return (text.split(self.template.stop)[0] if self.template.stop else text).strip()

    # Forward ---------------------------------------------------------------

    def forward(
        self,
        images: Images,
        data_samples: Samples | None = None,
        mode: str = 'predict',
        **generation: Any,
    ) -> Any:
        """One batch.

        Args:
            images: normalised pictures: ``(B, 3, S, S)``, one for each sample,
                or a list of what `LlavaDataPreprocessor` gives for a sample.
            data_samples: one for each sample; ``predict`` reads ``question``,
                ``loss`` reads ``conversations``.
            mode: ``predict`` gives the samples with ``pred_caption`` or
                ``pred_answer``; ``loss`` a dict with ``loss``; ``tensor`` the
                logits ``(B, L, V)`` of the prompts, left-padded.
            generation: settings of this call, for ``predict`` only.

        Raises:
            CheckpointError: the model has no weights yet.
        """
        modes = dict(predict=self.predict, loss=self.loss, tensor=self.logits)
        if mode not in modes:
            raise unknown_name('mode', mode, modes)
        self.check_weights()
        if data_samples is None:
            data_samples = [BaseDataElement() for _ in images]
        return modes[mode](images, data_samples, **generation)

    def extract_feat(
        self, pictures: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """Pictures ``(T, 3, S, S)`` to rows of word-embedding space ``(N, D)``, one each.

        The tower runs once, over the tiles of all pictures. ``sizes`` are (width,
        height) of each picture as it was.
        """
        if not pictures:
            return []
        dtype = next(self.vision_tower.parameters()).dtype
        tiles = torch.cat(list(pictures)).to(self.data_preprocessor.device, dtype)
        # In training what learns is float32, and the frozen tower may be half of it.
        width = next(self.projector.parameters()).dtype
        features = self.projector(self.vision_tower(tiles).to(width))
        return [
            merge_tiles(
                views,
                size,
                self.image_grid_pinpoints,
                self.vision_tower.image_size,
                self.image_newline,
                self.mm_patch_merge_type,
            )
            for views, size in zip(features.split([len(p) for p in pictures]), sizes, strict=True)
        ]

    def batch(self, images: Images, data_samples: Samples, encode: Any, side: str) -> Batch:
        """Samples as one batch: prompts by ``encode(sample, num_images)``, pictures put in.

        Rows are padded on one side; those to learn from, on the right, are cut to the context.
        """
        pictures = [flatten_images(image) for image in images]
        prompts = [
            encode(sample, len(own)) for sample, own in zip(data_samples, pictures, strict=True)
        ]
        sizes = [
            size
            for sample, own in zip(data_samples, pictures, strict=True)
            for size in original_sizes(sample, own)
        ]
        features = iter(self.extract_feat([p for own in pictures for p in own], sizes))
        end = None if side == 'left' else self.max_tokens or self.language.max_tokens
        rows = []
        for prompt, own in zip(prompts, pictures, strict=True):
            embeds, labels = splice(self.language, prompt, [next(features) for _ in own])
            rows.append((embeds[:end], labels[:end]))
        return collate(rows, side)

    def logits(self, images: Images, data_samples: Samples) -> Tensor:
        """Mode ``tensor``."""
        batch = self.batch(images, data_samples, self.encode_prompt, 'left')
        self.language.limit_tokens({}, batch.mask.shape[1])
        return self.language(batch.embeds, batch.mask)

    def loss(self, images: Images, data_samples: Samples) -> dict[str, Tensor]:
        """Mode ``loss``: cross entropy of the answers, mean over their tokens.

        A batch without a picture still runs tower and projector, on a black picture
        that takes no position: with several processes every trained weight needs a
        gradient in each of them. ``tokens`` and ``slots`` count what the rows hold
        without and with their padding.
        """
        side = 'packed' if self.pack else 'right'
        batch = self.batch(images, data_samples, self.encode_conversation, side)
        embeds = batch.embeds
        if self.training and not any(flatten_images(image) for image in images):
            px = self.vision_tower.image_size
            row = self.extract_feat([embeds.new_zeros(1, 3, px, px)], [(px, px)])[0]
            embeds = torch.cat([embeds, row[None, :0].to(embeds).expand(len(embeds), -1, -1)], 1)
        loss = self.language.loss(embeds, batch.mask, batch.labels, batch.positions)
        tokens = batch.mask.sum().float()  # mmengine logs means, of floats only
        return dict(loss=loss, tokens=tokens, slots=torch.full_like(tokens, batch.mask.numel()))

    @torch.no_grad()
    def predict(self, images: Images, data_samples: Samples, **generation: Any) -> Samples:
        """Mode ``predict``. A sample that carries an ``error`` gets None for an answer.

        Args:
            images: as in `forward`.
            data_samples: as in `forward`.
            generation: settings over those of the config, for this call.
        """
        field = 'pred_caption' if self.task == 'caption' else 'pred_answer'
        good = [k for k, sample in enumerate(data_samples) if not sample.get('error')]
        for sample in data_samples:
            sample.set_field(None, field)
        if good:
            batch = self.batch(
                [images[k] for k in good],
                [data_samples[k] for k in good],
                self.encode_prompt,
                'left',
            )
            new_ids = self.language.generate(
                batch.embeds,
                batch.mask,
                self.tokenizer,
                override(self.generation_cfg, generation),
                self.template.stop,
            )
            for k, ids in zip(good, new_ids, strict=True):
                data_samples[k].set_field(self.decode_answer(ids), field)
        return data_samples

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
