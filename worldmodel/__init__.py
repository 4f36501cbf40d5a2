"""Train joint-embedding predictive models on video: the library that `data_prep` and `eval` are clients of."""
