"""The reference backend: a connected-car service of known capacity, shed or not."""
