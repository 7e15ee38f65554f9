"""Django's own test suite on this backend: ``python -m tests.django_suite --help``.

The tests come from Django's source distribution, in the version that is installed. pytest
does not collect them: each module runs under Django's ``runtests.py``, in a process of its own
with an embedded server of its own. See ``docs/django-suite.md``.
"""
