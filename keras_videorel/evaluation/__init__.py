"""What a model is worth: scores of videos, metrics, fusion, comparisons."""
