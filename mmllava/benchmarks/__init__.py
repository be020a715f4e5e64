"""Floor 3. A benchmark's files become questions, and its answers become scores."""

from mmllava.benchmarks.dataset import BenchmarkDataset
from mmllava.benchmarks.metric import BenchmarkMetric

__all__ = ['BenchmarkDataset', 'BenchmarkMetric']
