"""Media servers as streaming uses them: asked who publishes, told to drop."""
