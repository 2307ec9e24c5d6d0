"""How a model gets elsewhere: its live objects taken apart, and put together again."""
