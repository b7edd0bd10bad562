"""Relations in image generation, video generation and aerial detection.

Importing this package is cheap: PyTorch is loaded by the modules that compute.
"""

__version__ = "0.1.0"
