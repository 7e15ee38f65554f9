from __future__ import annotations

from django.apps import AppConfig


class SubjectConfiguration(AppConfig):
    name = "loadtests.leaks.subject"
    label = "leaks"
