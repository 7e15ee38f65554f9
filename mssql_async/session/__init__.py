"""A context's lease on a connection, in the shape of the DB-API, and what its session went through.

Neither Django nor asgiref is imported here. :mod:`.scope`, :mod:`.state` and :mod:`.profile` need
no driver either, so that settings can be read without one; the others do.
"""
