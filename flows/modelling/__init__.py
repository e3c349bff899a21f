"""Head models by name, and training and using the speech models."""
