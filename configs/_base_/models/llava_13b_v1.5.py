"""LLaVA v1.5, 13B: Vicuna v1.5 (LLaMA-2).

CLIP-L/14 at 336 px (576 tokens a picture), two linear layers with GELU.
Parameters: 13,350,837,248 = language model 13,015,864,320 (32,000 rows)
+ tower 303,505,408 (without its last layer norm) + projector 31,467,520.
"""

model = dict(
    type='mmllava.Llava',
    # A local folder, or the checkpoint's own, replaces the hub id.
    tokenizer=dict(
        type='mmllava.LlamaTokenizer',
        name_or_path='liuhaotian/llava-v1.5-13b',
    ),
    vision_encoder=dict(
        type='mmllava.CLIPVisionTower',
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        pretrained='openai/clip-vit-large-patch14-336',
    ),
    lang_encoder=dict(
        type='mmllava.LanguageModel',
        vocab_size=32000,
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
        rms_norm_eps=1e-05,
        max_position_embeddings=4096,
    ),
    mm_proj_depth=2,
    # What it was trained and benchmarked with ("curious user"); the authors' command
    # line sends template='llava_v1'.
    template='vicuna_v1',
)
