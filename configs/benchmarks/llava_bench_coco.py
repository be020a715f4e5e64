"""LLaVA-Bench (COCO), 90 questions about 30 images of val2014.

Files:  docs/datasets.md.
Score:  by a judge, from answers.jsonl.
Run:    python tools/test.py configs/benchmarks/llava_bench_coco.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='llava_bench',
        data_root='data',
        files=dict(
            questions='llava_bench_coco/qa90_questions.jsonl',
            images='coco/val2014',
        ),
        settings=dict(image_name='COCO_val2014_{}'),
    ),
)
