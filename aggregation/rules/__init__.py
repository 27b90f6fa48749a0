"""Rules: from the rows of a round to one vector, without memory and without anything beside the rows."""
