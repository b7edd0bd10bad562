"""Deformable DETR for the aerial world: the baseline."""

_base_ = [
    "../_base_/models/deformable-detr_r18_narrow.py",
    "../_base_/datasets/aerial_world.py",
    "../_base_/schedules/cpu_2k_detr.py",
    "../_base_/iterations_runtime.py",
]

optim_wrapper = dict(optimizer=dict(lr=5e-4))
