"""Pure foundations: ids, money, resources, time, errors. No I/O."""
