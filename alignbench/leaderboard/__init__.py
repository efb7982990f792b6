"""Published results: small, self-contained JSON files that can be compared and cited."""
