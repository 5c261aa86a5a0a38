"""Video files to frames and back: decoding, encoding, which frames a feature needs, resizing."""
