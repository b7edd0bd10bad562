"""Which settings a block of a configuration may have, and the nearest to a misspelt one."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from mmdet import registry
from mmdet.models.task_modules import RandomSampler
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader


# Blocks whose keys are free.
_OPEN = ("default_hooks", "custom_keys")
# Of keys: one that is less alike may be meant as it stands.
_ALIKE = 0.85
_REGISTRIES = [
    box for box in vars(registry).values() if isinstance(box, Registry) and box.scope == "mmdet"
]
_FREE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _parameters(function: Callable[..., Any]) -> set[str]:
    found = inspect.signature(function).parameters.values()
    return {each.name for each in found if each.kind not in _FREE} - {"self"}


# MMEngine's runner takes these from the configuration itself, not as arguments.
_TOP = _parameters(Runner.__init__) | {
    *("activation_checkpointing", "compile", "efficient_conv_bn_eval", "find_unused_parameters"),
    *("model_wrapper_cfg", "sync_bn"),
}
# What the detectors and heads of MMDetection look up by name in their settings.
_DETECTION = {
    *("assigner", "sampler", "allowed_border", "pos_weight", "debug", "rpn", "rcnn"),
    *("rpn_proposal", "nms_pre", "nms", "max_per_img", "min_bbox_size", "score_thr"),
    *("mask_size", "mask_thr_binary"),
}
# What is read from blocks that are no class, besides the arguments of their class, or although
# their class takes any argument.
_BLOCKS = {
    "auto_scale_lr": {"base_batch_size", "enable"},
    "checkpoint": _parameters(CheckpointHook.__init__),
    "clip_grad": {
        *_parameters(nn.utils.clip_grad_norm_) - {"parameters"},
        *("clip_value", "type"),
    },
    "compile": _parameters(torch.compile) - {"model"},
    "custom_keys": {"decay_mult", "lr_mult"},
    "env_cfg": {"cudnn_benchmark", "dist_cfg", "mp_cfg", "resource_limit"},
    "filter_cfg": {"bbox_min_size", "filter_empty_gt", "min_size"},
    "model_wrapper_cfg": {
        *_parameters(MMDistributedDataParallel.__init__),
        *_parameters(nn.parallel.DistributedDataParallel.__init__),
        "type",
    },
    # Of `mmcv.ops.batched_nms`, and of the two kinds that it calls.
    "nms": {
        *("class_agnostic", "iou_thr", "iou_threshold", "max_num", "method", "min_score"),
        *("offset", "score_threshold", "sigma", "split_thr", "type"),
    },
    "optim_wrapper": {"constructor", "paramwise_cfg"},
    # Of `DefaultOptimWrapperConstructor`, which looks them up by name.
    "paramwise_cfg": {
        *("bias_decay_mult", "bias_lr_mult", "bypass_duplicate", "custom_keys"),
        *("dcn_offset_lr_mult", "dwconv_decay_mult", "flat_decay_mult", "norm_decay_mult"),
    },
    "randomness": _parameters(Runner.set_randomness),
    "rcnn": _DETECTION,
    "rpn": _DETECTION,
    "rpn_proposal": _DETECTION,
    "sampler": _parameters(RandomSampler.__init__),
    "test_cfg": {*_DETECTION, "type"},
    # The loop of a run may be given without its class.
    "train_cfg": {
        *_DETECTION,
        *_parameters(EpochBasedTrainLoop.__init__),
        *_parameters(IterBasedTrainLoop.__init__),
        *("by_epoch", "type"),
    },
}
# Classes of blocks that need not name one.
_KINDS = {"relation": "RelationLearningLoss", "vsr": "VisualSemanticReasoner"}


def find_unknown(config: Config, key: str, changes: Mapping[str, Any]) -> Iterator[str]:
    """Looks up each part of an option's key; tells of one that nothing asks for.

    Args:
        config: The configuration that the option changes.
        key: Names with dots between, such as "model.neck.type".
        changes: All options; they may give a block on the way another type.
    """
    node: Any = config._cfg_dict
    parts = key.split(".")
    for depth, name in enumerate(parts):
        if isinstance(node, list | tuple) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
            continue
        path = parts[:depth]
        if path and path[-1] in _OPEN:
            return
        names = _choices(node, path, changes)
        if name not in names:
            nearest = get_close_matches(name, names, n=1)
            where = ".".join(path) or "the configuration"
            listed = ", ".join(sorted(names)) or "no settings"
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has {listed}."
            yield f"`--cfg_options` {key}: {where} has no {name!r}; {hint}"
            return
        node = node.get(name) if isinstance(node, Mapping) else None


def _choices(node: Any, path: Sequence[str], changes: Mapping[str, Any]) -> set[str]:
    """What may follow in an option's key: places of a list, or names of settings."""
    if isinstance(node, list | tuple):
        return {str(i) for i in range(len(node))}
    block = node if isinstance(node, Mapping) else {}
    kind = changes.get(".".join([*path, "type"]), block.get("type"))
    return set(block) | _settings(path, block, kind)[0]


def find_misspelt(node: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Tells of the keys, at any depth, that nothing asks for but that nearly are a setting.

    MMEngine and MMDetection ignore most unknown keys, so a mistake would change nothing but the
    result. Keys of one's own are left alone, and so are blocks whose class takes any argument.

    Args:
        node: A configuration, or a block or list in it.
        path: Where the block stands.
    """
    if isinstance(node, Mapping):
        yield from _misspelt_keys(node, path)
        parts = node.items()
    else:
        parts = enumerate(node) if isinstance(node, list | tuple) else ()
    for key, part in parts:
        yield from find_misspelt(part, (*path, str(key)))


def _misspelt_keys(block: Mapping[Any, Any], path: Sequence[str]) -> Iterator[str]:
    if path and path[-1] in _OPEN:
        return
    names, complete = _settings(path, block, block.get("type"))
    where = f" in {'.'.join(path)}" if path else ""
    for key in [key for key in block if complete and key not in names]:
        for nearest in get_close_matches(str(key), names, n=1, cutoff=_ALIKE):
            yield f"unknown key {key!r}{where}; did you mean {nearest!r}?"


def _settings(path: Sequence[str], block: Mapping[Any, Any], kind: Any) -> tuple[set[str], bool]:
    """Settings that a block may have, and whether these are all."""
    if not path:
        return _TOP, True
    name = _name(path)
    found = [(_BLOCKS[name], True)] if name in _BLOCKS else []
    kind = kind or _KINDS.get(name)
    if isinstance(kind, str):
        found += [*map(_arguments, _classes(kind))]
    elif "dataset" in block:
        found.append((_parameters(DataLoader.__init__) | {"num_batch_per_epoch"}, True))
    complete = name in _BLOCKS or (bool(found) and all(each for _, each in found))
    return {"_scope_"}.union(*(names for names, _ in found)), complete


def _name(path: Sequence[str]) -> str:
    """What a block is called; entries of a list are called like the list."""
    words = [word for word in path if not word.isdigit()]
    # Their own names are parts of the model.
    return "custom_keys" if words[-2:-1] == ["custom_keys"] else (words or [""])[-1]


def _classes(name: str) -> list[type]:
    """Registered under a name, which registries of different things may share."""
    kinds = dict.fromkeys(box.get(name) for box in _REGISTRIES)
    return [kind for kind in kinds if inspect.isclass(kind)]


def _arguments(kind: type) -> tuple[set[str], bool]:
    """Arguments of a class and of the bases that it hands others on to, and whether these are all.

    They are not where the last one that takes arguments takes any.
    """
    names, complete = {"type"}, True
    for base in kind.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        names |= _parameters(base.__init__)
        kinds = {each.kind for each in inspect.signature(base.__init__).parameters.values()}
        complete = inspect.Parameter.VAR_KEYWORD not in kinds
        if complete:
            break
    return names, complete
