"""Finding configurations, changing them from the command line, and mistakes in them."""

import pytest
from mmdet.registry import TRANSFORMS

from tests.detectors.toys import CONFIGS, DETECTORS
from visionrel.detectors.configuration import find_config, load_config, set_iterations
from visionrel.errors import InputError


NAME = "faster-rcnn_r18_fpn_1xb4-2k_aerial"


def test_by_name_with_ending_or_as_a_file():
    path = find_config(NAME)
    assert path == find_config(f"{NAME}.py") == find_config(path)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=NAME):
        find_config("faster-rcnn_r18_aerial")


def test_options_change_settings_and_arguments_that_are_not_written_down():
    config = load_config(
        NAME,
        [
            "train_dataloader.batch_size=3",
            "model.roi_head.bbox_head.reg_class_agnostic=True",
            "model.neck.in_channels=[1,2,3,4]",
            "train_dataloader.dataset.pipeline.2.scale=(64,64)",
            "default_hooks.checkpoint.interval=7",
        ],
    )
    assert config.train_dataloader.batch_size == 3
    assert config.model.roi_head.bbox_head.reg_class_agnostic is True
    assert config.model.neck.in_channels == [1, 2, 3, 4]
    assert config.train_dataloader.dataset.pipeline[2].scale == (64, 64)
    assert config.default_hooks.checkpoint.interval == 7


def test_every_wrong_option_is_told_with_the_nearest_name():
    options = ["modle.type=GFL", "model.roi_head.bbox_head.num_clases=3", "train_cfg"]
    with pytest.raises(InputError) as caught:
        load_config(NAME, options)
    first, second, third = caught.value.problems
    assert "'modle'; did you mean 'model'" in first
    assert "bbox_head has no 'num_clases'; did you mean 'num_classes'" in second
    assert "KEY=VALUE" in third


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("optim_wraper", "optim_wrapper"),
        ("train_dataloadr", "train_dataloader"),
        ("val_evalutor", "val_evaluator"),
        ("train_cgf", "train_cfg"),
        ("find_unused_parameter", "find_unused_parameters"),
    ],
)
def test_a_misspelt_key_of_a_file_is_refused(tmp_path, wrong, right):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = {str(find_config(NAME))!r}\n{wrong} = dict(type='x')\n")
    with pytest.raises(InputError, match=f"unknown key '{wrong}'; did you mean '{right}'"):
        load_config(path)


MISSPELT = """
model = dict(
    bakbone=dict(depth=18),
    roi_head=dict(bbox_head=dict(num_clases=3)),
    vsr=dict(text_bnk="aerial"),
    train_cfg=dict(
        rpn=dict(allowed_boarder=0),
        rpn_proposl=dict(nms_pre=9),
        rcnn=dict(assigner=dict(pos_iou_th=0.5), sampler=dict(add_gt_as_proposal=True)),
    ),
    test_cfg=dict(rpn=dict(nms=dict(iou_treshold=0.5)), rcnn=dict(max_per_image=500)),
)
train_dataloader = dict(batchsize=2, dataset=dict(filter_cfg=dict(filter_emty_gt=True)))
own_pipeline = [dict(type="Resize", scale=(9, 9), keep_ration=True)]
train_cfg = dict(max_iter=9)
default_hooks = dict(checkpoint=dict(max_keep_ckpt=1))
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mul=0.0, custom_keys=dict(neck=dict(lr_mul=0.1)))
)
"""
RIGHT = {
    "model.bakbone": "backbone",
    "model.roi_head.bbox_head.num_clases": "num_classes",
    "model.vsr.text_bnk": "text_bank",
    "model.train_cfg.rpn.allowed_boarder": "allowed_border",
    "model.train_cfg.rpn_proposl": "rpn_proposal",
    "model.train_cfg.rcnn.assigner.pos_iou_th": "pos_iou_thr",
    "model.train_cfg.rcnn.sampler.add_gt_as_proposal": "add_gt_as_proposals",
    "model.test_cfg.rpn.nms.iou_treshold": "iou_threshold",
    "model.test_cfg.rcnn.max_per_image": "max_per_img",
    "train_dataloader.batchsize": "batch_size",
    "train_dataloader.dataset.filter_cfg.filter_emty_gt": "filter_empty_gt",
    "own_pipeline.0.keep_ration": "keep_ratio",
    "train_cfg.max_iter": "max_iters",
    "default_hooks.checkpoint.max_keep_ckpt": "max_keep_ckpts",
    "optim_wrapper.paramwise_cfg.norm_decay_mul": "norm_decay_mult",
    "optim_wrapper.paramwise_cfg.custom_keys.neck.lr_mul": "lr_mult",
}


def test_misspelt_keys_of_blocks_are_told_together_with_their_places(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = {str(find_config(NAME))!r}\n{MISSPELT}")
    with pytest.raises(InputError) as caught:
        load_config(path)
    expected = set()
    for key, right in RIGHT.items():
        place, _, wrong = key.rpartition(".")
        expected.add(f"{path}: unknown key {wrong!r} in {place}; did you mean {right!r}?")
    assert set(caught.value.problems) == expected


def test_stages_of_a_cascade_are_read_like_its_one_block(tmp_path):
    path = tmp_path / "mine.py"
    base = find_config("cascade-rcnn_r50_fpn_8xb1-12e_visdrone")
    stages = "[dict(pos_weigth=-1, debug=False)]"
    path.write_text(f"_base_ = {str(base)!r}\nmodel = dict(train_cfg=dict(rcnn={stages}))\n")
    with pytest.raises(InputError, match=r"'pos_weigth' in model\.train_cfg\.rcnn\.0; did"):
        load_config(path)


@TRANSFORMS.register_module()
class Passing:
    """Hands on whatever it is given."""

    def __init__(self, scale=1, **others):
        self.scale, self.others = scale, others


@TRANSFORMS.register_module()
class Closed(Passing):
    """Hands on nothing of it."""

    def __init__(self, sigma=1):
        super().__init__(sigmas=sigma)


def test_a_class_that_takes_any_argument_is_believed(tmp_path):
    path = tmp_path / "mine.py"
    steps = "[dict(type='Passing', scales=2), dict(type='Nobody', scales=2)]"
    path.write_text(f"_base_ = {str(find_config(NAME))!r}\nown_pipeline = {steps}\n")
    assert load_config(path).own_pipeline[0].scales == 2
    path.write_text(path.read_text().replace("'Passing', scales", "'Closed', sigmas"))
    with pytest.raises(InputError, match=r"'sigmas' in own_pipeline\.0; did you mean 'sigma'"):
        load_config(path)


@pytest.mark.parametrize("name", DETECTORS)
def test_nothing_in_mmdetections_own_configurations_is_called_misspelt(name):
    assert load_config(CONFIGS / DETECTORS[name]).model


def test_names_of_ones_own_are_no_misspelt_keys(tmp_path):
    path = tmp_path / "mine.py"
    own = "".join(f"{name} = 1\n" for name in ("train_dataset", "val_pipeline", "test_root"))
    path.write_text(f"_base_ = {str(find_config(NAME))!r}\n{own}")
    assert load_config(path).train_dataset == 1


def test_settings_of_every_kind_of_class_can_be_changed():
    config = load_config(
        NAME,
        [
            "val_evaluator.classwise=True",
            "optim_wrapper.accumulative_counts=4",
            "train_dataloader.pin_memory=True",
            "default_hooks.checkpoint.save_best=coco/bbox_mAP",
        ],
    )
    assert config.val_evaluator.classwise and config.train_dataloader.pin_memory
    assert config.optim_wrapper.accumulative_counts == 4


@pytest.mark.parametrize(
    "options",
    [
        ["optim_wrapper.dtype=bfloat16", "optim_wrapper.type=AmpOptimWrapper"],
        [
            "model.roi_head.bbox_head.type=BatchFormerShared2FCBBoxHead",
            "model.roi_head.bbox_head.max_samples=256",
        ],
        ["optim_wrapper.paramwise_cfg.bypass_duplicate=True"],
        ["optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult=0.1"],
        ["optim_wrapper.clip_grad.error_if_nonfinite=True"],
        ["find_unused_parameters=True", "sync_bn=torch"],
        ["activation_checkpointing=[backbone]"],
        ["compile.backend=eager"],
        ["model_wrapper_cfg.type=MMDistributedDataParallel"],
        ["model_wrapper_cfg.static_graph=True"],
        ["randomness.deterministic=True"],
        ["auto_scale_lr.enable=True"],
    ],
)
def test_what_mmengine_reads_without_being_told_by_a_class_can_be_set(options):
    config = load_config(NAME, options)
    for option in options:
        key, _, value = option.partition("=")
        node = config
        for name in key.split("."):
            node = node[name]
        assert str(node) == value or node == [value.strip("[]")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["find_unused_parameter=True"], "did you mean 'find_unused_parameters'"),
        (["randomness.determinstic=True"], "randomness has no .* 'deterministic'"),
        (["optim_wrapper.paramwise_cfg.bypas_duplicate=True"], "'bypass_duplicate'"),
        (["optim_wrapper.dtype=bfloat16"], "optim_wrapper has no 'dtype'"),
        (
            ["optim_wrapper.type=AmpOptimWrapper", "optim_wrapper.dtyp=bfloat16"],
            "did you mean 'dtype'",
        ),
        (["load_from.path=x"], "load_from has no 'path'"),
        (["optim_wrapper.clip_grad=None", "optim_wrapper.clip_grad.max_norm=1"], "be merged"),
    ],
)
def test_the_same_misspelt_is_refused_with_the_nearest_name(options, message):
    with pytest.raises(InputError, match=message):
        load_config(NAME, options)


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("model = dict(\n")
    with pytest.raises(InputError, match=r"mine\.py cannot be read: SyntaxError"):
        load_config(path)


def test_the_data_root_changes_every_path(tmp_path):
    config = load_config("lango-" + NAME, data_root=tmp_path)
    assert "outputs/aerial" not in config.pretty_text
    assert config.val_evaluator.ann_file == f"{tmp_path.as_posix()}/val.json"


def test_a_shorter_run_keeps_the_shape_of_its_schedule():
    config = load_config(NAME)
    set_iterations(config, 200)
    assert config.train_cfg.max_iters == 200
    assert [(part.begin, part.end) for part in config.param_scheduler] == [(0, 10), (10, 200)]
    with pytest.raises(InputError, match="max_epochs"):
        set_iterations(load_config("gfl_r50_fpn_8xb1-12e_dota"), 10)
