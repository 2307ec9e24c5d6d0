"""How a report is written down: for people, for programs, for a code review."""
