"""One module a page: read what was asked, do it or look it up, render."""
