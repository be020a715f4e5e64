"""LLaVA: a vision tower, a projector and a language model, wired by config."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmllava.errors import ConfigError, unknown_name
from mmllava.models.detect import config_from_mmpretrain
from mmllava.models.hf_config import find_checkpoint
from mmllava.models.meta_init import LazyModel
from mmllava.models.preprocessor import Images, flatten_images, original_sizes
from mmllava.models.prompt_builder import TASKS, PromptBuilder
from mmllava.models.splice import Batch, collate, splice
from mmllava.models.tiles import merge_tiles
from mmllava.models.weights import load_checkpoint
from mmllava.prompts.presets import override
from mmllava.registry import MODELS
from mmllava.structures import EncodedPrompt

Samples = Sequence[BaseDataElement]
Encoder = Callable[[BaseDataElement, int], EncodedPrompt]


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
        mm_patch_merge_type: how the tiles of an image become one row:
            ``flat``, ``spatial`` or (v1.6) ``spatial_unpad``.
        image_grid_pinpoints: v1.6: the resolutions that the pipeline cuts tiles
            with, (width, height) each.
        max_tokens: rows to learn from are cut to so many tokens, images included;
            None is the language model's context. LLaVA trained with 2048.
        pack: in training, a batch is one row without padding, its samples kept apart.
        dtype: ``float32``, ``float16`` or ``bfloat16``; None is float32 on CPU
            and the checkpoint's half precision on GPU.
        bits: 4 or 8: the language model's blocks in so many bits, on a GPU, by
            bitsandbytes.
        data_preprocessor: config of the data preprocessor.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=PATH)`` loads.

    Shapes: B samples, N patches of an image, L tokens, D channels, V words.
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
        self._parts = config_from_mmpretrain(vision_encoder, lang_encoder, tokenizer)
        self._parts['vision_encoder'].setdefault('select_layer', mm_vision_select_layer)
        self._mm_hidden_size, self._mm_proj_depth = mm_hidden_size, mm_proj_depth
        self.mm_patch_merge_type = mm_patch_merge_type
        self.image_grid_pinpoints = [tuple(p) for p in image_grid_pinpoints or ()]
        self.max_tokens, self.pack = max_tokens, pack
        self._meta: Any = None
        with torch.device('meta'):
            self._build()
        self.prompt_builder = PromptBuilder(
            self._parts['tokenizer'],
            self.language.config.vocab_size,
            self.vision_tower.num_patches,
            template,
            preset,
            task,
            prompt_tmpl,
            use_im_patch,
            use_im_start_end,
        )
        self.generation_cfg = override(self.prompt_builder.preset.generation, generation_cfg or {})

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

    def load_weights(self, path: str | Path, for_training: bool = False) -> None:
        """Loads a checkpoint: a file, a folder or a hub id, and its tokenizer where it has one.

        Args:
            path: of any layout of `mmllava.checkpoints.layouts`; the base of a delta, a
                projector or an adapter is ``lang_encoder.pretrained``.
            for_training: training starts from it: it may know nothing of v1.6's tiles.

        Raises:
            CheckpointError: it does not fit, or cannot be read or trusted.
        """
        folder = load_checkpoint(self, find_checkpoint(path), self.dtype, for_training)
        self.vision_tower.rebuild_buffers()
        self.language.rebuild_buffers()
        self.prompt_builder.use_checkpoint(folder)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, read when first used."""
        return self.prompt_builder.tokenizer

    def forward(
        self,
        images: Images,
        data_samples: Samples | None = None,
        mode: str = 'predict',
        **generation: Any,
    ) -> Any:
        """One batch.

        Args:
            images: normalised images: ``(B, 3, S, S)``, one for each sample,
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
        self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """Turns each image ``(T, 3, S, S)`` into features ``(N, D)`` of token-embedding space.

        The tower runs once, over the tiles of all images. ``sizes`` are (width,
        height) of each image before any resize.
        """
        if not images:
            return []
        dtype = next(self.vision_tower.parameters()).dtype
        tiles = torch.cat(list(images)).to(self.data_preprocessor.device, dtype)  # (I, 3, S, S)
        # In training the projector is float32, and the frozen tower may be in half precision.
        dtype = next(self.projector.parameters()).dtype
        features = self.projector(self.vision_tower(tiles).to(dtype))  # (I, N, D)
        return [
            merge_tiles(
                tiles,
                size,
                self.image_grid_pinpoints,
                self.vision_tower.image_size,
                self.image_newline,
                self.mm_patch_merge_type,
            )
            for tiles, size in zip(features.split([len(i) for i in images]), sizes, strict=True)
        ]

    def prepare_inputs(
        self, images: Images, data_samples: Samples, encode: Encoder, side: str
    ) -> Batch:
        """Makes one batch of embeddings: prompts by ``encode(sample, num_images)``, images put in.

        Args:
            images: as in `forward`.
            data_samples: as in `forward`.
            encode: a method of `prompt_builder`.
            side: ``left`` pads to generate; ``right`` pads and ``packed`` concatenates to
                learn, both cut to the context.
        """
        flat = [flatten_images(image) for image in images]  # of each sample, (T, 3, S, S) each
        prompts, sizes = [], []
        for sample, own in zip(data_samples, flat, strict=True):
            prompts.append(encode(sample, len(own)))  # (L,) with one id for each image
            sizes += original_sizes(sample, own)
        features = iter(self.extract_feat([image for own in flat for image in own], sizes))
        end = None if side == 'left' else self.max_tokens or self.language.max_tokens
        entries = []
        for prompt, own in zip(prompts, flat, strict=True):
            embeds, labels = splice(self.language, prompt, [next(features) for _ in own])
            entries.append((embeds[:end], labels[:end]))  # (L, D), (L,)
        return collate(entries, side)  # (B, L, D), mask and labels (B, L)

    def logits(self, images: Images, data_samples: Samples) -> Tensor:
        """Mode ``tensor``."""
        batch = self.prepare_inputs(images, data_samples, self.prompt_builder.encode_prompt, 'left')
        self.language.limit_tokens({}, batch.mask.shape[1])
        return self.language(batch.embeds, batch.mask)

    def loss(self, images: Images, data_samples: Samples) -> dict[str, Tensor]:
        """Mode ``loss``: cross entropy of the answers, mean over their tokens.

        A batch without an image still runs tower and projector, on a black image
        that takes no position: with several processes every trained weight needs a
        gradient in each of them. ``tokens`` and ``slots`` count what the rows hold
        without and with their padding.
        """
        side = 'packed' if self.pack else 'right'
        batch = self.prepare_inputs(
            images, data_samples, self.prompt_builder.encode_conversation, side
        )
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
        field = 'pred_caption' if self.prompt_builder.task == 'caption' else 'pred_answer'
        good = [k for k, sample in enumerate(data_samples) if not sample.get('error')]
        for sample in data_samples:
            sample.set_field(None, field)
        if good:
            batch = self.prepare_inputs(
                [images[k] for k in good],
                [data_samples[k] for k in good],
                self.prompt_builder.encode_prompt,
                'left',
            )
            new_ids = self.language.generate(
                batch.embeds,
                batch.mask,
                self.tokenizer,
                override(self.generation_cfg, generation),
                self.prompt_builder.template.stop,
            )
            for k, ids in zip(good, new_ids, strict=True):
                data_samples[k].set_field(self.prompt_builder.decode_answer(ids), field)
        return data_samples

    # mmpretrain ------------------------------------------------------------

    @property
    def _metainfo(self) -> Any:
        """Answers mmpretrain's ``inference_model``, which asks to choose an inferencer.

        It knows only models that were built by name; this tells it the task of
        one that was built from a config.
        """
        result = SimpleNamespace(task=TASKS[self.prompt_builder.task])
        return self._meta or SimpleNamespace(name='llava', results=[result])

    @_metainfo.setter
    def _metainfo(self, value: Any) -> None:
        self._meta = value
