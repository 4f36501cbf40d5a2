"""Native layouts of data sets, one small file each; named in SOURCES."""
