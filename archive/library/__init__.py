"""What people see of recordings and what owners do with them: lists, edits, access, captions, deletion."""
