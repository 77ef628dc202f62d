"""Processes killed at random moments under load, and what was counted compared with what was served."""
