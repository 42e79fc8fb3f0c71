"""What should be: the desired files, read and checked as a whole, and what is wanted because of them.

files, nodes    bytes -> YAML nodes with their places, within bounds
schema          what a person may write, as frozen models
problems        what is wrong with it, in words for people
loader          all files -> Desired, or every mistake of every file
window, recipes, wanted    pure: Desired and releases -> what is wanted
"""
