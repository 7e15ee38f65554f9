"""The Django project under test: its database comes from the environment, its views from the
scenarios."""
