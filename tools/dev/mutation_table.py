"""Lists the ways in which tools/dev/mutation_test.py breaks the code; a table and nothing else."""

from dataclasses import dataclass

GOLDEN = 'tests/test_models/test_golden.py'
ORACLE = 'tests/test_models/test_transformers_parity.py'
LOOP = 'tests/test_generation/test_loop.py'
LANGUAGE = 'tests/test_models/test_language.py'
TOWER = 'tests/test_models/test_vision_tower.py'
SPLICE = 'tests/test_models/test_splice.py'
PREPROCESSOR = 'tests/test_models/test_preprocessor.py'
PROMPT = 'tests/test_models/test_prompt_builder.py'
TILES = 'tests/test_models/test_tiles.py'
BATCH = 'tests/test_models/test_batch_fuzz.py'
CLIP = 'tests/test_images/test_clip.py'
ANYRES = 'tests/test_images/test_anyres.py'
ENCODE = 'tests/test_prompts/test_encode.py'
TOKENS = 'tests/test_prompts/test_tokenizer.py'
TEMPLATES = 'tests/test_prompts/test_templates.py'
FUZZ = 'tests/test_prompts/test_fuzz.py'
STREAM = 'tests/test_generation'
CHAT = 'tests/test_apis/test_chat.py'
CHAT_FUZZ = 'tests/test_apis/test_chat_fuzz.py'
INFERENCE = 'tests/test_apis/test_inferencers.py'


@dataclass(frozen=True)
class Mutant:
    """One way to break a file: ``old``, which is there exactly once, becomes ``new``."""

    name: str
    file: str  # from the root
    old: str
    new: str
    tests: tuple[str, ...]  # files or folders, one of which must fail


def mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, f'mmllava/{file}', old, new, tests)


MUTANTS = [
    # What the tower sees.
    mutant('pad colour', 'images/clip.py', 'int(mean * 255)', 'round(mean * 255)', CLIP),
    mutant('pad offset', 'images/clip.py', '(side - image.height) // 2)', '0)', CLIP),
    mutant(
        'crop offset',
        'images/clip.py',
        '(width - size_px) // 2,',
        '(width - size_px + 1) // 2,',
        CLIP,
    ),
    mutant('bicubic', 'images/clip.py', 'Resampling.BICUBIC', 'Resampling.BILINEAR', CLIP),
    mutant(
        'anyres grid choice',
        'images/anyres.py',
        'kept - pinpoint[0] * pinpoint[1]',
        'pinpoint[0] * pinpoint[1]',
        ANYRES,
    ),
    mutant(
        'anyres canvas',
        'images/anyres.py',
        "Image.new('RGB', canvas_size)",
        "Image.new('RGB', canvas_size, (122, 116, 104))",
        ANYRES,
    ),
    mutant(
        'anyres tile order',
        'images/anyres.py',
        '.swapaxes(1, 2)\n',
        '.swapaxes(1, 2).swapaxes(0, 1)\n',
        ANYRES,
    ),
    mutant(
        'float32 pixels',
        'models/preprocessor.py',
        'pixels.float() *',
        'pixels.bfloat16() *',
        PREPROCESSOR,
    ),
    mutant(
        'CLIP mean',
        'models/preprocessor.py',
        'mean = torch.tensor(self.mean,',
        'mean = torch.tensor(self.mean[::-1],',
        PREPROCESSOR,
    ),
    # What it gives.
    mutant(
        'layer -2',
        'models/vision_tower.py',
        'select_layer + depth + 1 if',
        'select_layer + depth + 2 if',
        TOWER,
    ),
    mutant(
        'layer -2 of the model',
        'models/llava.py',
        'mm_vision_select_layer: int = -2',
        'mm_vision_select_layer: int = -1',
        ORACLE,
    ),
    mutant('class token', 'models/vision_tower.py', 'hidden[:, 1:] if', 'hidden[:, :-1] if', TOWER),
    mutant(
        'projector GELU', 'models/projector.py', 'nn.GELU()', "nn.GELU(approximate='tanh')", GOLDEN
    ),
    mutant(
        'newline position',
        'models/tiles.py',
        'torch.cat([grid, newlines], dim=1)',
        'torch.cat([newlines, grid], dim=1)',
        TILES,
    ),
    mutant(
        'whole image first',
        'models/tiles.py',
        'torch.cat([base, grid.flatten(0, 1)])',
        'torch.cat([grid.flatten(0, 1), base])',
        TILES,
    ),
    mutant(
        'unpad rounding',
        'images/anyres.py',
        'margin = (rows - int(height * (columns / width))) // 2',
        'margin = (rows - round(height * (columns / width))) // 2',
        ANYRES,
        TILES,
    ),
    # What is said.
    mutant('BOS', 'prompts/encode.py', "elif tokenizer.encode('')[:1]:", 'elif False:', ENCODE),
    mutant(
        'BOS of each chunk',
        'prompts/encode.py',
        "elif tokenizer.encode('')[:1]:",
        "if tokenizer.encode('')[:1]:",
        ENCODE,
    ),
    mutant(
        'space after a special token',
        'prompts/tokenizer.py',
        "(SPACE if first else '') + chunk",
        'SPACE + chunk',
        TOKENS,
    ),
    mutant(
        'space before a special token',
        'prompts/tokenizer.py',
        'pieces == [SPACE] and len(text) > len(chunk)',
        'False',
        FUZZ,
    ),
    mutant(
        'legacy by default',
        'prompts/tokenizer.py',
        'self.legacy = True if legacy is None',
        'self.legacy = False if legacy is None',
        TOKENS,
    ),
    mutant(
        'end of a Llama-2 answer',
        'prompts/render.py',
        "f' {turn.text} {template.sep2}'",
        "f' {turn.text}{template.sep2}'",
        TEMPLATES,
    ),
    mutant(
        'image first',
        'prompts/conversation.py',
        "f'{IMAGE_TAG}\\n' * num_images + question",
        "question + f'\\n{IMAGE_TAG}' * num_images",
        ENCODE,
    ),
    mutant(
        'image order',
        'models/splice.py',
        '.tolist(), features, strict=True)',
        '.tolist(), features[::-1], strict=True)',
        SPLICE,
    ),
    mutant(
        'images of another sample',
        'datasets/collate.py',
        "{name: [sample[name] for sample in samples] for name in ('inputs', 'data_samples')}",
        "__import__('mmengine.dataset').dataset.pseudo_collate(samples)",
        INFERENCE,
    ),
    # What is learned.
    mutant(
        'label offset',
        'models/language.py',
        'labels[:, 1:].to(embeds.device)',
        'labels[:, :-1].to(embeds.device)',
        GOLDEN,
    ),
    mutant(
        'label of the token after',
        'prompts/encode.py',
        'token.start < last and',
        'token.start <= last and',
        ENCODE,
    ),
    mutant(
        'label of the space in front',
        'prompts/encode.py',
        'end = max(token.end, token.start + 1)',
        'end = token.end',
        ENCODE,
        FUZZ,
    ),
    mutant(
        'label of an image',
        'models/splice.py',
        'labels.new_full((len(feature),), IGNORE_INDEX)',
        'labels.new_full((len(feature),), 0)',
        SPLICE,
    ),
    mutant(
        'end token learned',
        'prompts/render.py',
        "segments.append(Segment(f' {turn.text}{ends[number % 2]}', learn=number % 2 == 1))",
        "segments += [Segment(f' {turn.text}', number % 2 == 1), Segment(ends[number % 2])]",
        ENCODE,
    ),
    mutant(
        'v0 stop signal',
        'prompts/labels.py',
        'labels[cursor + 2 : end] =',
        'labels[cursor : end] =',
        ENCODE,
    ),
    # What is answered.
    mutant(
        'left padding',
        'models/llava.py',
        "                'left',\n",
        "                'right',\n",
        GOLDEN,
    ),
    mutant(
        'attention to padding',
        'models/language.py',
        'settings = dict(attention_mask=mask)',
        'settings = dict(attention_mask=torch.ones_like(mask))',
        LANGUAGE,
    ),
    mutant(
        'padding of generate',
        'models/language.py',
        '            attention_mask=mask,\n            generation_config',
        '            generation_config',
        GOLDEN,
    ),
    mutant(
        'padding of the loop',
        'models/language.py',
        'attention_mask=mask,\n            position_ids=positions,\n            past_key_values',
        'attention_mask=mask if mask is None else torch.ones_like(mask),\n'
        '            position_ids=positions,\n            past_key_values',
        GOLDEN,
    ),
    mutant(
        'stop token of beams',
        'models/language.py',
        'config.eos_token_id = list(rule.ids)',
        'config.eos_token_id = [tokenizer.eos_id]',
        STREAM,
    ),
    mutant(
        'stop token',
        'generation/stop.py',
        'if answer[-1] in self.ids:',
        'if answer[-1] == self.ids[0]:',
        STREAM,
    ),
    mutant(
        'stop token of a stream',
        'generation/stream.py',
        'if token in rule.ids:',
        'if token == rule.ids[0]:',
        STREAM,
    ),
    mutant(
        'room of a row',
        'generation/loop.py',
        'len(answers[entry]) >= limits[entry]',
        'len(answers[entry]) >= max(limits)',
        LOOP,
    ),
    mutant('words to draw from', 'generation/config.py', 'top_k=50', 'top_k=5', STREAM),
    mutant(
        'stop text',
        'models/prompt_builder.py',
        'text.split(self.template.stop)[0] if',
        'text if',
        PROMPT,
    ),
    mutant(
        'stop text of a stream',
        'generation/stream.py',
        'for stop in stops if stop and stop in text]',
        'for stop in stops if False]',
        STREAM,
    ),
    mutant(
        'stop begun in a stream',
        'generation/stream.py',
        'if text.endswith(stop[:size]):',
        'if False:',
        STREAM,
    ),
    mutant(
        'cache of a session',
        'apis/chat.py',
        '            if old != new:\n',
        '            if False:\n',
        CHAT,
        CHAT_FUZZ,
    ),
    mutant(
        'cache of a session without an answer',
        'apis/chat.py',
        '                self._fed = []\n',
        '                pass\n',
        CHAT_FUZZ,
    ),
    mutant(
        'repetition penalty of a session',
        'generation/config.py',
        'RepetitionPenaltyLogitsProcessor(config.repetition_penalty)',
        'RepetitionPenaltyLogitsProcessor(1.0)',
        CHAT,
    ),
    mutant(
        'context of a batch',
        'models/llava.py',
        '(embeds[:end], labels[:end])',
        '(embeds, labels)',
        'tests/test_models/test_llava.py',
    ),
    # What is learned from, and in which order.
    mutant(
        'seed of an epoch',
        'training/samplers.py',
        'self.seed + self.epoch',
        'self.seed',
        'tests/test_training/test_samplers.py',
    ),
    mutant(
        'megabatch of an accumulated step',
        'training/samplers.py',
        'self.world_size * self.accumulative_counts',
        'self.world_size',
        'tests/test_training/test_samplers.py',
    ),
    mutant(
        'modality of a replacement',
        'datasets/instruct.py',
        'if (self.lengths[other] > 0) == wanted:',
        'if other >= 0:',
        'tests/test_datasets/test_instruct.py',
    ),
    mutant(
        'bad samples of other workers',
        'datasets/instruct.py',
        '.share_memory_()',
        '',
        'tests/test_datasets/test_instruct.py',
    ),
    mutant(
        'path out of the image folder',
        'io.py',
        'os.path.abspath(path)]) != root',
        'root]) != root',
        'tests/test_datasets/test_llava_json.py',
    ),
    mutant(
        'labels beyond the limit',
        'models/sample_encoder.py',
        'and at < max_tokens',
        'and at <= max_tokens',
        'tests/test_training/test_inspect_data.py',
    ),
]
