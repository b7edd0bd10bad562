from visionrel.evaluation.timing import Timing


ROWS = {
    "fast": lambda repeats: Timing("fast", 0.5, 1.0, "1.3x", f"{repeats} rounds"),
    "alone": lambda repeats: Timing("alone", 2.0, None, "20 s", aim="8 s"),
}
