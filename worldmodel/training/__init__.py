"""Parts of a training step: model and objectives as one module, optimizer, parallelism, frozen teacher."""
