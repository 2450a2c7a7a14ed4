"""What all tests share: hypothesis without a clock, because these machines are noisy."""

from hypothesis import settings

settings.register_profile("sarcube", deadline=None, max_examples=25)
settings.load_profile("sarcube")
