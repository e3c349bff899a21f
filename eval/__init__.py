"""Metrics of predicted motion, drawing, and lip reading.

Here lies what the sub-packages share: settings, tables, and where vertices come from (`ground_truth`, `vertex_files`);
`parity` compares with the originals.
"""
