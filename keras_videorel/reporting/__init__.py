"""Results as charts and as a page of HTML."""
