"""Head models and the fitter: from landmarks to motion."""
