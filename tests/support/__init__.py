"""What tests share: builders of images, wanted tags and observations."""
