"""How long things are kept, what holds them longer, and what tells a purge from a loss."""
