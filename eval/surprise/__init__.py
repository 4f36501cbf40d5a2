"""How surprised is a model? Windows, forecasts, distances and what is usual, to a table of traces."""
