"""Tables, figures, videos and the page of `eval plan`."""
