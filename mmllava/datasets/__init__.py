"""Files become samples.

Floor 2. Files:

    collate.py     samples to a batch
    instruct.py    training files as a dataset; bad samples skipped and told
    llava_json.py  LLaVA's training JSON: rows, and what makes one unfit
    scienceqa.py   ScienceQA's problems as such rows
    transforms.py  the steps of a pipeline
"""

from mmllava.datasets.collate import collate
from mmllava.datasets.instruct import InstructDataset
from mmllava.datasets.transforms import CLIPResize, LoadImage

__all__ = ['CLIPResize', 'InstructDataset', 'LoadImage', 'collate']
