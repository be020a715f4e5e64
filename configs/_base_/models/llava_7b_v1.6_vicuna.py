"""LLaVA v1.6, 7B: Vicuna v1.5 (LLaMA-2).

CLIP-L/14 at 336 px (1,176 to 2,928 tokens an image), two linear layers with GELU.
Parameters: 7,062,904,832 = language model 6,738,415,616 (vocabulary of 32,000)
+ tower 303,505,408 (without its last layer norm) + projector 20,979,712
+ image_newline 4,096.
The tower was tuned and is in the checkpoint; the stock CLIP must not replace it.
"""

_base_ = ['./llava.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/llava-v1.6-vicuna-7b'),
    mm_proj_depth=2,
    mm_patch_merge_type='spatial_unpad',
    image_grid_pinpoints=[(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)],
    # It was trained and benchmarked with this ("curious user"); the authors' command line sends
    # template='llava_v1'.
    template='vicuna_v1',
)
resize = dict(
    type='mmllava.CLIPResize',
    size=336,
    aspect='anyres',
    image_grid_pinpoints=model['image_grid_pinpoints'],
)
