"""LLaVA-Bench (In-the-Wild), 60 questions about 24 images.

Files:  docs/datasets.md.
Score:  by a judge, from answers.jsonl.
Run:    python tools/test.py configs/benchmarks/llava_bench_wild.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='llava_bench',
        data_root='data/llava-bench-in-the-wild',
        files=dict(
            questions='questions.jsonl',
            images='images',
        ),
    ),
)
