"""What one machine does, on many: scans and crops on a Ray cluster."""
