"""The load shedder: decides who gets in, and refuses the others cheaply and honestly."""
