"""The engine: lanes, pump and journal, driven by hand."""
