"""LLaVA v1, 7B (Lightning v1-1): LLaMA-1 7B with <im_patch>, <im_start>, <im_end>.

CLIP-L/14 at 224 px (256 tokens an image), one linear layer.
Parameters: 7,045,816,320 = language model 6,738,440,192 (vocabulary of 32,003)
+ tower 303,177,728 (without its last layer norm) + projector 4,198,400.
"""

_base_ = ['./llava.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/LLaVA-Lightning-7B-delta-v1-1'),
    vision_encoder=dict(image_size=224, pretrained='openai/clip-vit-large-patch14'),
    lang_encoder=dict(vocab_size=32003, rms_norm_eps=1e-06, max_position_embeddings=2048),
    mm_proj_depth=1,
    use_im_start_end=True,
    # The authors' command line and demo send this ("curious human"); training and benchmarks
    # said "curious user": template='vicuna_v1'.
    template='llava_v1',
)
resize = dict(type='mmllava.CLIPResize', size=224, aspect='square')
