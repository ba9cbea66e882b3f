"""The endpoints, one file per feature."""
