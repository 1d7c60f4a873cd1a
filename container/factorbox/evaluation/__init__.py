"""How good a model is: metrics of rankings and ratings, their intervals, and what they stand beside."""
