"""GFL for the aerial world: the baseline."""

_base_ = [
    "../_base_/models/gfl_r18_fpn_narrow.py",
    "../_base_/datasets/aerial_world.py",
    "../_base_/schedules/cpu_2k.py",
    "../_base_/iterations_runtime.py",
]
