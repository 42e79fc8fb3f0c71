"""What a person may write in desired files: frozen, strict models; keys in YAML are kebab-case.

The description of a field says what to write there: it ends up in the error where something else was written.
"""

from reconciler.desired.schema.app import App, Upstream, Window
from reconciler.desired.schema.image import Image
from reconciler.desired.schema.mirror import Defaults, Mirror, SigningEntry

__all__ = ["App", "Defaults", "Image", "Mirror", "SigningEntry", "Upstream", "Window"]
