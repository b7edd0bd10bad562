"""DOTA with scene conditions from a side file."""

_base_ = "./dota.py"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="LoadSceneCondition", ann_file="data/dota/train-conditions.json"),
    dict(type="Resize", scale=(1024, 1024), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="PackDetInputs",
        meta_keys=(
            *("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
            *("flip", "flip_direction", "scene_cond"),
        ),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
