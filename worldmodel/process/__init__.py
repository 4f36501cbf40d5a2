"""The process itself: command-line arguments, signals, standard streams, cores, devices and launch."""
