"""Runs a script of MMDetection with the stand-in in place.

    python -m visionrel.detectors.ops test CONFIG CHECKPOINT

`tools/train.py` reads the config, and with it `custom_imports`, before it needs any op; some
others, `tools/test.py` among them, import MMDetection's models first.
"""

import runpy
import sys
from pathlib import Path

import mmdet

from visionrel.errors import InputError


TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"


def main(words: list[str]) -> None:
    """Runs `words[0]`, a name under MMDetection's `tools` or a path, with the other words."""
    name = words[0] if words else ""
    script = Path(name) if name.endswith(".py") else TOOLS / f"{name}.py"
    if not script.is_file():
        known = sorted(
            str(path.relative_to(TOOLS).with_suffix("")) for path in TOOLS.glob("**/*.py")
        )
        raise InputError(f"There is no script {name!r}; give a path or one of {', '.join(known)}.")
    sys.argv = [str(script), *words[1:]]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
