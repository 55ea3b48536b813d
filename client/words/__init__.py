"""Words about a person's taste, made on the device and of public texts alone.

`facts` is what may be said: counted from the titles and attributes of what was chosen. `said`
writes it from templates, `writer` with a language model; `check` lets no sentence through that
names anything else. `wish` reads what a person asks for in words, as facts of the catalogue.
"""
