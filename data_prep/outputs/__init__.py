"""Where outputs of commands are written that are not folders of this machine."""
