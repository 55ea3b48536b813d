"""The page that a device shows its person, in a browser on the same machine and nowhere else.

`guard` refuses whoever is not that browser, `app` is what is left to answer, `html` the page
itself, which works without a script, and `serving` the process. What lies in `files` is plain CSS
and a small script; nothing is ever fetched from elsewhere.
"""
