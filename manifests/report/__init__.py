"""The report page: one self-contained HTML file that shows what a dataset is."""
