"""How an announced message reaches the hubs."""
