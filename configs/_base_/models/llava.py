"""Shared by all released LLaVA: CLIP-L/14 at 336 px in front of a LLaMA-2 of 7B.

The other bases give what differs, and `resize`: image size, aspect and grid of the model. A leaf
fills it into its dataset's pipeline.
"""

model = dict(
    type='mmllava.Llava',
    # name_or_path: a hub id. A local folder, or the checkpoint's own tokenizer, replaces it.
    tokenizer=dict(type='mmllava.LlamaTokenizer'),
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
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        rms_norm_eps=1e-05,
        max_position_embeddings=4096,
    ),
)
