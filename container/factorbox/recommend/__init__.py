"""From factors to answers: top-N with filters."""
