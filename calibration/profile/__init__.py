"""One page that says what a narrower precision costs and gives: `adcvsr profile`.

run_profile(request) measures; write_page(path, profile) draws. docs/profile.md explains every part.
"""
