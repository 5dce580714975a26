"""Other vendors' systems: what they tell in their own codes becomes alerts here."""
