"""The nouns, as frozen and pure types: no input, no output, no dependency but the standard library.

`str()` of a noun gives back what was parsed (platforms: their normal form). Nouns that stand in files (records, saved
plans, desired state) know how pydantic reads and writes them: see `text.Text`.
"""
