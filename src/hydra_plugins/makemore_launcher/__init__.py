"""How Hydra starts the runs of a sweep here; it takes launchers from a package of this name only."""
