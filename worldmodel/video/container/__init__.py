"""Video containers: open a file or tar member, read its packets, check its structure and its time stamps."""
