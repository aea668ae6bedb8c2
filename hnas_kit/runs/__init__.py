"""Run folders, parameters of notebooks, their execution, sweeps of them, and regression checks."""

from hnas_kit.runs.folders import (
    FORMAT,
    READS,
    SEARCHES,
    Finished,
    Stage,
    device_of,
    fingerprint,
    outputs_root,
    peak_memory_mb,
    profile_folder,
    progress,
    project_root,
    result_params,
    same_code,
    search_of,
    up_to_date,
    upstream,
)
