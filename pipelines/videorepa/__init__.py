"""VideoREPA: token relations of a video encoder for a video generator (arXiv 2505.23656)."""
