"""Every point of the curve and every reference, computed, sealed and written down."""
