"""llava-tiny, for dialogue about its drawn world.

Weights: mmllava/assets/llava-tiny, in the package: get_model('llava-tiny_chat', pretrained=True).
Memory:  4.8 MB in float16, 9.6 MB in float32.
Score:   configs/tiny/README.md.
Run:     python tools/test.py configs/tiny/llava-tiny_chat.py mmllava/assets/llava-tiny
"""

_base_ = ['./llava-tiny_vqa.py']

model = dict(preset='vqa_open')
