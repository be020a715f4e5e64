"""LLaVA v1.0, 13B (lightning preview): LLaMA-2-Chat 13B.

CLIP-L/14 at 224 px (256 tokens a picture), one linear layer.
Parameters: 13,324,290,048 = language model 13,015,864,320 (32,000 rows)
+ tower 303,177,728 (without its last layer norm) + projector 5,248,000.
"""

model = dict(
    type='mmllava.Llava',
    # A local folder, or the checkpoint's own, replaces the hub id.
    tokenizer=dict(
        type='mmllava.LlamaTokenizer',
        name_or_path='liuhaotian/llava-llama-2-13b-chat-lightning-preview',
    ),
    vision_encoder=dict(
        type='mmllava.CLIPVisionTower',
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=224,
        patch_size=14,
        pretrained='openai/clip-vit-large-patch14',
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
    mm_proj_depth=1,
    template='llava_llama_2',
)
