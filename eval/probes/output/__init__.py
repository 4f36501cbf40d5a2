"""Tables and figures of probes."""
