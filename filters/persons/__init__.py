"""Who is seen and heard: descriptors of faces and voices, and persons found among them."""
