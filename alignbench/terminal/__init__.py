"""What a run looks like on a terminal and in a CI log, while it works and afterwards."""
