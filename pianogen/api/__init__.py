"""The functions of the Python API that combine several stages; docs/python.md describes it."""
