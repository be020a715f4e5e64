"""LLaVA v1.6, 7B: Mistral-7B-Instruct-v0.2.

CLIP-L/14 at 336 px (1,176 to 2,928 tokens a picture), two linear layers with GELU.
Parameters: 7,566,221,312 = language model 7,241,732,096 (32,000 rows)
+ tower 303,505,408 (without its last layer norm) + projector 20,979,712
+ image_newline 4,096.
The tower was tuned and is in the checkpoint; the stock CLIP must not replace it.
"""

model = dict(
    type='mmllava.Llava',
    # A local folder, or the checkpoint's own, replaces the hub id.
    tokenizer=dict(
        type='mmllava.LlamaTokenizer',
        name_or_path='liuhaotian/llava-v1.6-mistral-7b',
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
        model_type='mistral',
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        rms_norm_eps=1e-05,
        rope_theta=1000000.0,
        max_position_embeddings=32768,
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
    template='mistral_instruct',
)
