"""A context's lease on a connection, in the shape of the DB-API, and what its session went through.

Neither Django nor asgiref is imported here. :mod:`.lease` needs the driver; :mod:`.scope` and
:mod:`.state` do not, so that settings can be read without one.
"""
