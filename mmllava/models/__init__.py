"""Images and token ids become logits, losses and text.

Floor 2. Files:

    checks.py              does this machine, this folder fit the model?
    detect.py              an original folder -> the config of its model, with reasons
    hf_config.py           sizes from a config, a folder or the hub
    image_inputs.py        the pictures of a batch, whatever form they come in
    language.py            the only door to transformers' language models
    llava.py               the model: three parts, wired
    llava_config.py        the other way: a model -> its config.json
    meta_init.py           only shapes until weights come; device and dtype
    mmpretrain_configs.py  component names of mmpretrain's own configs
    packed_attention.py    samples in one row that do not see each other
    partial.py             a checkpoint that holds only what training changed
    preprocessor.py        pixels normalised, to the device
    projector.py           linear (v1) or two layers (v1.5)
    quantize.py            the language model in 8 or 4 bits
    splice.py              features between word embeddings; padding
    tiles.py               v1.6: features of tiles -> one row
    tokenizer.py           the tokenizer: of the config, the checkpoint or the hub
    vision_tower.py        CLIP, up to the layer that LLaVA reads
    weights.py             a checkpoint's tensors into the model, all or nothing
"""

from mmllava.models.language import LanguageModel
from mmllava.models.llava import Llava
from mmllava.models.preprocessor import LlavaDataPreprocessor
from mmllava.models.projector import MlpProjector
from mmllava.models.vision_tower import CLIPVisionTower
from mmllava.prompts.tokenizer import HuggingFaceTokenizer, LlamaTokenizer
from mmllava.registry import TOKENIZER

# Floor 1 knows no registry, so its tokenizers get their names here.
TOKENIZER.register_module(module=LlamaTokenizer)
TOKENIZER.register_module(module=HuggingFaceTokenizer)

__all__ = [
    'CLIPVisionTower',
    'LanguageModel',
    'Llava',
    'LlavaDataPreprocessor',
    'MlpProjector',
]
