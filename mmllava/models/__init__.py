"""Floor 2. Pictures and ids in; losses, logits and text out."""

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
