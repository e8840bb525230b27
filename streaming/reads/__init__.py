"""What is read often, kept ready."""
