"""GFL for the aerial world with LANGO's relation loss, reconstructed from the abstract."""

_base_ = [
    "../_base_/models/gfl_r18_fpn_narrow.py",
    "../_base_/datasets/aerial_world.py",
    "../_base_/schedules/cpu_2k.py",
    "../_base_/iterations_runtime.py",
]

model = dict(
    bbox_head=dict(type="RelationGFLHead", relation=dict(text_bank="aerial")),
)
custom_hooks = [dict(type="LangoCheckHook")]
