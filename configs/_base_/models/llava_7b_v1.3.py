"""LLaVA v1.0 of July 2023, 7B, where its training starts: Vicuna v1.3 and stock CLIP.

CLIP-L/14 at 224 px (256 tokens an image), one linear layer; no <im_start> and <im_end>.
Parameters: 7,045,791,744 = language model 6,738,415,616 (vocabulary of 32,000)
+ tower 303,177,728 (without its last layer norm) + projector 4,198,400.
"""

_base_ = ['./llava_7b_v1.py']

model = dict(
    tokenizer=dict(name_or_path='lmsys/vicuna-7b-v1.3'),
    lang_encoder=dict(vocab_size=32000, pretrained='lmsys/vicuna-7b-v1.3'),
    use_im_start_end=False,
    template='vicuna_v1',
    max_tokens=2048,
    dtype='bfloat16',  # of the frozen parameters
)
