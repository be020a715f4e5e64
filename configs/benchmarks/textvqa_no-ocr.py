"""TextVQA 0.5.1, 5,000 validation questions, without Rosetta's OCR tokens.

Files:  docs/datasets.md.
Score:  accuracy. LLaVA-1.5-7B by lmms-eval: 46.1.
Run:    python tools/test.py configs/benchmarks/textvqa_no-ocr.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='textvqa',
        data_root='data/textvqa',
        files=dict(
            annotations='TextVQA_0.5.1_val.json',
            images='train_images',
        ),
        preset='llava-no-ocr',
    ),
)
