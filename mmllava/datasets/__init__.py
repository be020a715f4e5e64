"""Floor 2. Files become samples."""

from mmllava.datasets.transforms import CLIPResize, LoadImage

__all__ = ['CLIPResize', 'LoadImage']
