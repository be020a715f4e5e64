"""llava-tiny: LLaVA v1.5's form at small size, for the drawn world of projects/llava_tiny.

CLIP at 112 px, patches of 16 (49 tokens an image), all blocks used; two linear layers
with GELU; a LLaMA with a vocabulary of 640. All in one checkpoint, with its tokenizer.
"""

model = dict(
    type='mmllava.Llava',
    tokenizer=dict(type='mmllava.LlamaTokenizer', name_or_path='llava-tiny'),  # the checkpoint's
    vision_encoder=dict(
        type='mmllava.CLIPVisionTower',
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=112,
        patch_size=16,
        select_layer=-1,  # trained for this alone, so that no block is skipped
    ),
    lang_encoder=dict(
        type='mmllava.LanguageModel',
        vocab_size=640,
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=4,
        num_attention_heads=5,
        rms_norm_eps=1e-05,
        max_position_embeddings=1024,
    ),
    mm_proj_depth=2,
    template='vicuna_v1',
)
resize = dict(type='mmllava.CLIPResize', size=112, aspect='pad')
