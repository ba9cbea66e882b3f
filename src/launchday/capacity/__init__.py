"""How much capacity the launch needs, from what was measured."""
