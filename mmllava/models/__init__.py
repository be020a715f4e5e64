"""Turns images and token ids into logits, losses and text.

Floor 2. Files:

    detect.py            an original folder, or mmpretrain's config -> the config of a model
    fingerprints.py      fingerprints of loaded weights; the base of a training run
    hf_config.py         config.json: read, compared with a model, written
    language.py          wraps transformers' language models
    llava.py             wires tower, projector and language model; forward, loss, predict
    meta_init.py         only shapes until weights come; device and dtype
    packed_attention.py  packed samples that do not see each other
    preprocessor.py      normalises pixels; flattens the forms that images come in
    projector.py         linear (v1) or two layers (v1.5)
    prompt_builder.py    encodes a sample as ids and labels; decodes ids to an answer
    quantize.py          the language model in 8 or 4 bits
    sample_encoder.py    encodes a packed training sample in a dataset's worker
    splice.py            inserts image features into token embeddings; pads or packs a batch
    tiles.py             v1.6: merges the features of an image's tiles
    vision_tower.py      wraps CLIP, up to the hidden state that LLaVA reads
    weights.py           a checkpoint's tensors into the model, all or nothing
"""

from mmllava.models.language import LanguageModel
from mmllava.models.llava import Llava
from mmllava.models.preprocessor import LlavaDataPreprocessor
from mmllava.models.projector import MlpProjector
from mmllava.models.sample_encoder import SampleEncoder
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
    'SampleEncoder',
]
