"""TextVQA 0.5.1, 5,000 validation questions, the OCR tokens of Rosetta in the prompt.

Files:  docs/datasets.md.
Score:  accuracy. LLaVA-1.5-7B: 58.2.
Run:    python tools/test.py configs/benchmarks/textvqa.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='textvqa',
        data_root='data/textvqa',
        files=dict(
            annotations='TextVQA_0.5.1_val.json',
            ocr='TextVQA_Rosetta_OCR_v0.2_val.json',
            images='train_images',
        ),
    ),
)
