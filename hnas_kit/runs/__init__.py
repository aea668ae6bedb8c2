"""Run folders, parameters of notebooks, their execution, sweeps of them, and regression checks.

What needs PyTorch is imported when it is used: parameters are checked without it.
"""

from hnas_kit.names import lazy
from hnas_kit.places import READS, SEARCHES, outputs_root, profile_folder, project_root, provided
from hnas_kit.runs.params import result_params

_FINISHED = "FORMAT Finished know place search_of"
_FOLDERS = "Stage device_of fingerprint peak_memory_mb progress same_code up_to_date upstream"
__getattr__, __dir__ = lazy(
    __name__, dict.fromkeys(_FINISHED.split(), "finished") | dict.fromkeys(_FOLDERS.split(), "folders")
)
