"""A method that draws noise: what the command line needs from a method and nothing else."""
