"""50 epochs for the DETR family, whose optimizer comes with the model."""

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=50, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
param_scheduler = [
    dict(type="MultiStepLR", begin=0, end=50, by_epoch=True, milestones=[40], gamma=0.1)
]
auto_scale_lr = dict(enable=False, base_batch_size=24)
