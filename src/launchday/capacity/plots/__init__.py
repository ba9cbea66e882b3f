"""Six plots of a plan: what they show (pictures), and how they are drawn (SVG, PNG)."""
