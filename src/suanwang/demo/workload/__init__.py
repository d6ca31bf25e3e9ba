"""Specifications and programs of the demo; `suan run FILE` takes each of them."""
