"""Head models by the files that they are made of."""
