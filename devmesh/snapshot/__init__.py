"""The compiled mesh: frozen values that the proxy moves bytes by, and the feed that replaces them whole."""
