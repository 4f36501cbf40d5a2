"""Curation of real video: shots, static and black stretches, borders and near-duplicates, as columns of a table."""
