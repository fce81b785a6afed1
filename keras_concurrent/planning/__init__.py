"""Who computes what, and when: task graphs, schedules, segments, bounds, and why no faster."""
