"""Script: a training run that is killed in the middle of a step, after all but writing it down."""

import os
import sys
from pathlib import Path

from tests.detectors.runs import quick_run


def main() -> None:
    from mmdet.registry import HOOKS
    from mmengine.hooks import Hook

    @HOOKS.register_module()
    class KillHook(Hook):
        """Ends the process without a goodbye, as a machine that loses its power does."""

        priority = "VERY_HIGH"

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter + 1 == int(sys.argv[5]):
                os.kill(os.getpid(), 9)

    folder, data, name, iterations = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]
    options = ("default_hooks.kill.type=KillHook",)
    # 0 leaves the length to the configuration.
    quick_run(folder, data, name, int(iterations) or None, options=options)


if __name__ == "__main__":
    main()
