"""What all other packages stand on: errors, random streams, digests, files that are written whole or not at all."""
