"""LLaVA v1.0, 13B at 336 px: Vicuna v1.3 (LLaMA-1), LoRA merged.

CLIP-L/14 at 336 px (576 tokens a picture), one linear layer.
Parameters: 13,324,617,728 = language model 13,015,864,320 (32,000 rows)
+ tower 303,505,408 (without its last layer norm) + projector 5,248,000.
"""

model = dict(
    type='mmllava.Llava',
    # A local folder, or the checkpoint's own, replaces the hub id.
    tokenizer=dict(
        type='mmllava.LlamaTokenizer',
        name_or_path='liuhaotian/llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3',
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
        rms_norm_eps=1e-06,
        max_position_embeddings=2048,
    ),
    mm_proj_depth=1,
    # What the authors' command line and demo send ("curious human"); training and
    # benchmarks said "curious user": template='vicuna_v1'.
    template='llava_v1',
)
