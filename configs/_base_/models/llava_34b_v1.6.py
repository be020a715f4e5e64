"""LLaVA v1.6, 34B: Nous-Hermes-2-Yi-34B.

CLIP-L/14 at 336 px (1,176 to 2,928 tokens a picture), two linear layers with GELU.
Parameters: 34,751,164,416 = language model 34,388,917,248 (64,000 rows)
+ tower 303,505,408 (without its last layer norm) + projector 58,734,592
+ image_newline 7,168.
The tower was tuned and is in the checkpoint; the stock CLIP must not replace it.
"""

model = dict(
    type='mmllava.Llava',
    # A local folder, or the checkpoint's own, replaces the hub id.
    tokenizer=dict(
        type='mmllava.LlamaTokenizer',
        name_or_path='liuhaotian/llava-v1.6-34b',
    ),
    vision_encoder=dict(
        type='mmllava.CLIPVisionTower',
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    ),
    lang_encoder=dict(
        type='mmllava.LanguageModel',
        vocab_size=64000,
        hidden_size=7168,
        intermediate_size=20480,
        num_hidden_layers=60,
        num_attention_heads=56,
        num_key_value_heads=8,
        rms_norm_eps=1e-05,
        rope_theta=5000000.0,
        max_position_embeddings=4096,
    ),
    mm_proj_depth=2,
    mm_patch_merge_type='spatial_unpad',
    image_grid_pinpoints=[
        (336, 672),
        (672, 336),
        (672, 672),
        (1008, 336),
        (336, 1008),
    ],
    template='chatml_direct',
)
