"""Behaviour cloning and inverse dynamics: small networks on the frozen encoder, trained on the train split."""
