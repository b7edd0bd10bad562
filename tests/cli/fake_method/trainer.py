import errno
import logging
from dataclasses import dataclass, field
from pathlib import Path

from visionrel.errors import InputError, VisionrelError


class Stopped(VisionrelError):
    exit_code = 143


FAILURES = {
    "input": InputError(["0.png is empty.", "1.png has no caption."]),
    "signal": Stopped("Stopped after step 3."),
    "memory": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    "cuda": RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "disk": OSError(errno.ENOSPC, "No space left on device", "checkpoint-3"),
    "rights": PermissionError(errno.EACCES, "Permission denied", "/root/x"),
    "interrupt": KeyboardInterrupt(),
    "bug": ZeroDivisionError("a bug"),
}


@dataclass
class TrainingResult:
    steps: int
    output_dir: Path
    seconds: float
    metrics: dict = field(default_factory=dict)
    stopped: bool = False


last_config = None


def train(config):
    global last_config
    last_config = config
    if config.fail:
        raise FAILURES[config.fail]
    print("a library prints this")
    logging.getLogger("visionrel.fake").info("3/3")
    return TrainingResult(3, config.output_dir, 0.1, {"loss": 0.5})
