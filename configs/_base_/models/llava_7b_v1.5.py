"""LLaVA v1.5, 7B: Vicuna v1.5 (LLaMA-2).

CLIP-L/14 at 336 px (576 tokens an image), two linear layers with GELU.
Parameters: 7,062,900,736 = language model 6,738,415,616 (vocabulary of 32,000)
+ tower 303,505,408 (without its last layer norm) + projector 20,979,712.
"""

_base_ = ['./llava.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-v1.5-7b'),
    vision_encoder=dict(pretrained='openai/clip-vit-large-patch14-336'),
    mm_proj_depth=2,
    # It was trained and benchmarked with this ("curious user"); the authors' command line sends
    # template='llava_v1'.
    template='vicuna_v1',
)
resize = dict(type='mmllava.CLIPResize', size=336, aspect='pad')
