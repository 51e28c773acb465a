"""Tests of Nodus."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several tests at once: threads of torch that wait for each other spin
