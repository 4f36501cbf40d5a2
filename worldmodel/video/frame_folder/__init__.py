"""Videos that are folders of PNG or JPEG frames."""
