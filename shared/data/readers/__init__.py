"""Files as publishers and people write them, each read into columns of one form.

`columns` holds the rules that all of them keep.
"""
