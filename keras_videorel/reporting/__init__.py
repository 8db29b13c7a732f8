"""Results as charts and as an HTML page."""
