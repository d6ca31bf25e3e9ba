"""What is traded: accelerators and their figures, standard products, units that compare."""
