"""LLaVA v1.0 of July 2023, 7B: Vicuna v1.3 (LLaMA-1), no start and end words.

CLIP-L/14 at 224 px (256 tokens a picture), one linear layer.
Parameters: 7,045,791,744 = language model 6,738,415,616 (32,000 rows)
+ tower 303,177,728 (without its last layer norm) + projector 4,198,400.
"""

_base_ = ['./llava_7b_v1.py']

model = dict(
    tokenizer=dict(name_or_path='lmsys/vicuna-7b-v1.3'),
    lang_encoder=dict(vocab_size=32000),
    use_im_start_end=False,
    template='vicuna_v1',
)
