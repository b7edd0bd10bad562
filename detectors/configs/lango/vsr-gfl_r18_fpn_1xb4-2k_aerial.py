"""GFL for the aerial world with LANGO's reasoner, reconstructed from the abstract."""

_base_ = [
    "../_base_/models/gfl_r18_fpn_narrow.py",
    "../_base_/datasets/aerial_world_conditions.py",
    "../_base_/schedules/cpu_2k.py",
    "../_base_/iterations_runtime.py",
]

model = dict(
    type="LangoGFL",
    vsr=dict(text_bank="aerial", in_channels=32, num_heads=4, feedforward_channels=128),
)
custom_hooks = [dict(type="LangoCheckHook")]
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "vsr.injection.gates": dict(decay_mult=0.0),
            "vsr.query_offset": dict(decay_mult=0.0),
        }
    )
)
