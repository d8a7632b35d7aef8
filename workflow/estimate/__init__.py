"""What runs take, before they are run: time, memory, disk; and what they took."""
