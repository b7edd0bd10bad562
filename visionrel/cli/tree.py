"""Every command by name."""

from __future__ import annotations

from visionrel.cli.bench import BENCH
from visionrel.cli.data import DATA
from visionrel.cli.demo import DEMO
from visionrel.cli.detect import DETECT
from visionrel.cli.doctor import DOCTOR
from visionrel.cli.methods import EVALUATE, GENERATE, TRAIN
from visionrel.cli.quickstart import QUICKSTART
from visionrel.cli.replay import REPLAY
from visionrel.cli.routing import Tree
from visionrel.cli.weights import WEIGHTS


TREE: Tree = {
    "quickstart": QUICKSTART,
    "train": TRAIN,
    "generate": GENERATE,
    "detect": DETECT,
    "evaluate": EVALUATE,
    "replay": REPLAY,
    "data": DATA,
    "weights": WEIGHTS,
    "demo": DEMO,
    "doctor": DOCTOR,
    "bench": BENCH,
}
