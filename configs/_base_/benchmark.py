"""Shared by every benchmark. The model is given separately: tools/test.py --model."""

_base_ = ['./default_runtime.py']

test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mmllava.keep_lists'),  # some questions have no image
    dataset=dict(type='mmllava.BenchmarkDataset', preset='llava'),
)
test_evaluator = dict(type='mmllava.BenchmarkMetric')
test_cfg = dict(type='mmllava.ResumableTestLoop')
