"""LLaVA v0, 7B: LLaMA-1 7B with [PAD], <im_patch>, <im_start>, <im_end>.

CLIP-L/14 at 224 px (256 tokens an image), one linear layer.
Parameters: 7,045,824,512 = language model 6,738,448,384 (vocabulary of 32,004)
+ tower 303,177,728 (without its last layer norm) + projector 4,198,400.
"""

_base_ = ['./llava_7b_v1.py']

model = dict(
    tokenizer=dict(name_or_path='liuhaotian/LLaVA-7b-delta-v0'),
    lang_encoder=dict(vocab_size=32004),
    template='llava_v0',
)
