"""LLaVA v1, 7B: LLaMA-1 with 3 extra rows, one linear layer, CLIP-L/14 at 224 px (256 tokens).

Parameters: 7,045,816,320 (language model 6,738,440,192 with 32,003 rows,
tower 303,177,728 without its last layer norm, projector 4,198,400).
"""

model = dict(
    type='mmllava.Llava',
    # The delta's files carry <im_start> and <im_end>; a local folder can replace the hub id.
    tokenizer=dict(
        type='mmllava.LlamaTokenizer',
        name_or_path='liuhaotian/LLaVA-Lightning-7B-delta-v1-1',
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
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        rms_norm_eps=1e-6,
        max_position_embeddings=2048,
    ),
    mm_proj_depth=1,
    use_im_start_end=True,
    # What the authors' command line and demo send to this checkpoint ("curious human").
    template='llava_v1',
)
