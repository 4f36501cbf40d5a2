"""The process itself: command-line arguments, signals, standard streams, processors and devices."""
