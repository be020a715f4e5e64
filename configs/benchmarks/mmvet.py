"""MM-Vet, 218 questions, answered in sentences.

Files:  docs/datasets.md.
Score:  by MM-Vet's judge, from mm-vet.json.
Run:    python tools/test.py configs/benchmarks/mmvet.py CHECKPOINT
"""

_base_ = ['../_base_/benchmark.py']

test_dataloader = dict(
    dataset=dict(
        benchmark='mmvet',
        data_root='data/mm-vet',
        files=dict(
            questions='mm-vet.json',
            images='images',
        ),
    ),
)
