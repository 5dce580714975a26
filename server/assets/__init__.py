"""Sites and what they have: papers with their expiry, rooms, sensors, cameras, people to call; in and out as tables."""
