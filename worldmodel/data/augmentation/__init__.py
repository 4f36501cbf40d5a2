"""Augmentation of windows on the device: crops, colours, blur and pasted occluders."""
