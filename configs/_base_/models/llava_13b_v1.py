"""LLaVA v1, 13B (v1-1): LLaMA-1 13B with <im_patch>, <im_start>, <im_end>.

CLIP-L/14 at 224 px (256 tokens a picture), one linear layer.
Parameters: 13,324,320,768 = language model 13,015,895,040 (32,003 rows)
+ tower 303,177,728 (without its last layer norm) + projector 5,248,000.
"""

model = dict(
    type='mmllava.Llava',
    # A local folder, or the checkpoint's own, replaces the hub id.
    tokenizer=dict(
        type='mmllava.LlamaTokenizer',
        name_or_path='liuhaotian/LLaVA-13b-delta-v1-1',
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
        vocab_size=32003,
        hidden_size=5120,
        intermediate_size=13824,
        num_hidden_layers=40,
        num_attention_heads=40,
        rms_norm_eps=1e-06,
        max_position_embeddings=2048,
    ),
    mm_proj_depth=1,
    use_im_start_end=True,
    # What the authors' command line and demo send ("curious human"); training and
    # benchmarks said "curious user": template='vicuna_v1'.
    template='llava_v1',
)
