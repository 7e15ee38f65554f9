"""The shop in the admin, with what makes it ask unusual questions."""

from __future__ import annotations

from django.contrib import admin

from .models import Author, Book, Tag


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ("title", "author", "price", "created")
    list_filter = ("author",)
    search_fields = ("title",)
    date_hierarchy = "created"


admin.site.register([Author, Tag])
