"""Reads training files into samples.

Floor 2. Files:

    collate.py     collates samples to a batch
    instruct.py    the training dataset: mixes files, skips and logs bad samples
    llava_json.py  reads LLaVA's training JSON and refuses unusable records
    scienceqa.py   converts ScienceQA's problems to such records
    transforms.py  the steps of a pipeline
"""

from mmllava.datasets.collate import collate
from mmllava.datasets.instruct import InstructDataset
from mmllava.datasets.transforms import CLIPResize, LoadImage

__all__ = ['CLIPResize', 'InstructDataset', 'LoadImage', 'collate']
