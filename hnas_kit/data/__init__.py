"""Data sets behind one interface: embedded, downloaded, or one's own images, in memory or streamed."""

from hnas_kit.data.dataset import Batches, Dataset, Split
from hnas_kit.data.loading import data_folders, fixed_order, from_arrays, load, register, version
