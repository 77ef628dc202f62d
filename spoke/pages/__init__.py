"""The pages on which people look after their organizations. They know the API by its addresses alone."""
