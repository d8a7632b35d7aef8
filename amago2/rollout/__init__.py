"""Acting: collecting with exploration, evaluating, probing what the policy remembers."""
