"""Speech transcribed while it is spoken: what is done, and when, depends on the samples alone."""
