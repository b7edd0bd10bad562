"""How the embedded models are made: a module each, with `SUMMARY`, `BuildConfig`, `build`."""
