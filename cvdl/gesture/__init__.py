"""Chapter 04: gestures that a pointing finger draws before the wearer of a camera."""
