"""Pushes through Apple's push service (APNs), on aioapns."""
