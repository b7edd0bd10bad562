"""Relations in image generation, video generation and aerial detection.

Importing this package is cheap: PyTorch is loaded by the modules that compute.
"""

from pathlib import Path as _Path


__version__ = "0.1.0"

# In a clone, which shadows an installed package for `python -m` and `accelerate launch -m`, four of
# the subpackages stand beside this folder.
_root = _Path(__file__).parents[1]
if (_root / "setup.py").is_file():
    __path__.append(str(_root))
