"""MMDetection's runtime with visionrel registered, exact resuming and a stop at NaN."""

_base_ = "mmdet::_base_/default_runtime.py"

custom_imports = dict(imports=["visionrel.detectors"], allow_failed_imports=False)
default_hooks = dict(
    # Two: a process that is killed while it writes the newer one leaves the older.
    checkpoint=dict(max_keep_ckpts=2),
    random_streams=dict(type="RandomStreamsHook"),
    finite_loss=dict(type="FiniteLossHook"),
    safe_checkpoint=dict(type="SafeCheckpointHook"),
)
