"""LLaVA v1.0, 13B at 336 px: Vicuna v1.3 (LLaMA-1), LoRA merged.

CLIP-L/14 at 336 px (576 tokens an image), one linear layer.
Parameters: 13,324,617,728 = language model 13,015,864,320 (vocabulary of 32,000)
+ tower 303,505,408 (without its last layer norm) + projector 5,248,000.
"""

_base_ = ['./llava_13b_v1.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3'),
    vision_encoder=dict(image_size=336, pretrained='openai/clip-vit-large-patch14-336'),
    lang_encoder=dict(vocab_size=32000),
    use_im_start_end=False,
)
resize = dict(size=336)
