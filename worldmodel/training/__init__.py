"""What a training step needs: model and objectives as one module, optimizer, parallelism, frozen teacher."""
