"""Head models: their files, meshes and bases."""
