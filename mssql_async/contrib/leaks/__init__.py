"""Finds what leaks from one context into another: what is recorded, and what is concluded.

``record`` holds what was seen, from three sides; each module of ``detectors`` draws one kind of
conclusion from it. ``python -m loadtests leaks`` and the pytest plugin are built on both.
"""
