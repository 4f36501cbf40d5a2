"""Upload of run folders to object storage while training goes on."""
