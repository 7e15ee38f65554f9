"""``python -m loadtests leaks``: does anything cross from one context into another?"""
