"""Container files: opening, formats, structure, and the times of their frames."""
