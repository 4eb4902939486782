"""Commands that measure this code and its rivals, each in one run on the same inputs."""
