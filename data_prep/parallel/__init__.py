"""Workers that run the tasks of a command: processes of this machine, or of the nodes of a Ray cluster."""
