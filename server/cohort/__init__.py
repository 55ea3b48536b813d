"""Who is asked: secretly drawn people, or everyone by turns within agreed limits."""
