"""What the sandbox world contains: plain data and sentence templates, no behaviour."""
