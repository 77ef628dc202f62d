"""The settings of a benchmark's server: ours, with the peers' views beside our own."""

from spoke.settings import *  # noqa: F403

ROOT_URLCONF = "_peers"
