"""Floor 2. Files become samples."""

from mmllava.datasets.collate import collate
from mmllava.datasets.instruct import InstructDataset
from mmllava.datasets.transforms import CLIPResize, LoadImage

__all__ = ['CLIPResize', 'InstructDataset', 'LoadImage', 'collate']
