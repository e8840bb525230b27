"""Every service in one process, for one small machine: the composition root of the profile `solo`."""
