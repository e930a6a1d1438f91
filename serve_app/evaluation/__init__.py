"""How well the end of a turn is judged: many pauses whose answer is known, and what is made of them."""
